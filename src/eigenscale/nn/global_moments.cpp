#include "eigenscale/nn/global_moments.h"

#include <algorithm>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/gram.h"
#include "eigenscale/nn/saved_communicator.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

class AllReduceSum : public torch::autograd::Function<AllReduceSum> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& tensor,
                               const Communicator* communicator) {
    context->saved_data["communicator"] = save_communicator(communicator);
    auto sum = tensor.contiguous().clone();
    communicator->all_reduce(sum);
    return sum;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto& communicator = saved_communicator(context->saved_data["communicator"]);
    auto sum = gradients[0].contiguous().clone();
    communicator.all_reduce(sum);
    return {sum, torch::Tensor()};
  }
};

/// X X^T of each group in double, of X in its own type; the gradient is one product where
/// autograd's would be two.
class Gram : public torch::autograd::Function<Gram> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& groups) {
    context->save_for_backward({groups});
    // Some columns at a time: a copy of all in double would be twice the batch.
    const std::int64_t kColumns = groups.is_cpu() ? 4096 : std::int64_t{1} << 20;
    const std::int64_t size = groups.size(1);
    auto sum = groups.new_zeros({groups.size(0), size, size}, torch::kFloat64);
    for (std::int64_t first = 0; first < groups.size(2); first += kColumns) {
      const auto columns = groups.narrow(2, first, std::min(kColumns, groups.size(2) - first))
                               .to(torch::kFloat64)
                               .contiguous();
      for (std::int64_t group = 0; group < groups.size(0); ++group) {
        add_gram(sum[group], columns[group]);
      }
    }
    for (std::int64_t group = 0; group < groups.size(0); ++group) {
      mirror_lower(sum[group]);
    }
    return sum;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto groups = context->get_saved_variables()[0];
    const auto both = (gradients[0] + gradients[0].transpose(1, 2)).to(groups.scalar_type());
    return {torch::bmm(both, groups)};
  }
};

}  // namespace

torch::Tensor channels_first(const torch::Tensor& input) {
  return input.dim() == 2 ? input.t().contiguous()
                          : input.transpose(0, 1).reshape({input.size(1), -1});
}

torch::Tensor in_shape_of(const torch::Tensor& columns, const torch::Tensor& input) {
  if (input.dim() == 2) {
    return columns.t().contiguous();
  }
  return columns.view({input.size(1), input.size(0), input.size(2), input.size(3)})
      .transpose(0, 1)
      .contiguous();
}

torch::Tensor all_reduce_sum(const Communicator& communicator, const torch::Tensor& tensor) {
  return communicator.size() == 1 ? tensor : AllReduceSum::apply(tensor, &communicator);
}

GlobalMoments global_moments(const Communicator& communicator, const torch::Tensor& columns,
                             std::int64_t groups) {
  GlobalMoments result;
  result.samples = static_cast<double>(all_reduce(communicator, columns.size(1)));
  if (result.samples == 0) {
    throw Error(ExitCode::kInput, "a normalisation layer was given a batch without samples",
                /*agreed=*/true);
  }
  const std::int64_t channels = columns.size(0);
  const auto sums = columns.sum(1, true, torch::kFloat64);
  result.mean = all_reduce_sum(communicator, sums) / result.samples;
  // In two parts of the input's type: one would leave 5e-4 of a mean of 1e4 in every sample.
  const auto leading = result.mean.to(columns.scalar_type());
  const auto rest = (result.mean - leading).detach().to(columns.scalar_type());
  result.centred = columns - leading - rest;
  const auto gram = Gram::apply(result.centred.view({groups, channels / groups, -1}));
  result.covariance = all_reduce_sum(communicator, gram) / result.samples;
  return result;
}

}  // namespace eigenscale
