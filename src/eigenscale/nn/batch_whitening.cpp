#include "eigenscale/nn/batch_whitening.h"

#include <algorithm>
#include <utility>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/gram.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// A batch as n x C x pixels, cut into runs of whole samples.
class Pieces {
 public:
  /// Of x, n x C x pixels.
  explicit Pieces(const torch::Tensor& x) : samples_(x.size(0)) {
    const auto channels = x.size(1);
    const auto pixels = x.size(2);
    // Enough columns for the speed of a matrix product, few enough for the cache; on a device as
    // many as keep it busy.
    const std::int64_t kNumbers = std::int64_t{1} << (x.is_cpu() ? 17 : 26);
    constexpr std::int64_t kColumns = 512;
    const std::int64_t columns = std::max(kColumns, kNumbers / channels);
    length_ = std::clamp<std::int64_t>(columns / std::max<std::int64_t>(pixels, 1), 1,
                                       std::max<std::int64_t>(samples_, 1));
  }

  std::int64_t length() const { return length_; }

  template <typename Work>
  void for_each(const Work& work) const {
    for (std::int64_t first = 0; first < samples_; first += length_) {
      work(first, std::min(length_, samples_ - first));
    }
  }

 private:
  std::int64_t samples_;
  std::int64_t length_;
};

torch::Tensor as_pixels(const torch::Tensor& input) {
  const std::int64_t pixels = input.dim() == 2 ? 1 : input.size(2) * input.size(3);
  return input.contiguous().view({input.size(0), input.size(1), pixels});
}

/// Sums over samples and pixels, double.
torch::Tensor channel_sums(const torch::Tensor& x) {
  return x.sum(2, false, torch::kFloat64).sum(0);
}

/// What the backward pass needs of the forward one beside the input.
struct WhitenedBatch final : torch::CustomClassHolder {
  const Communicator* communicator = nullptr;
  double samples = 0;
  torch::Tensor mean;        // C, double
  torch::Tensor covariance;  // leaf of the graph that ends in `matrix`
  torch::Tensor scale;       // another, C, double
  torch::Tensor matrix;      // groups x c x c, scale included
  torch::ScalarType parameter_type = torch::kFloat32;
};

/// A buffer for one piece, whose first samples' columns are used: groups x rows x columns.
class Buffer {
 public:
  Buffer(std::int64_t groups, std::int64_t rows, std::int64_t columns,
         const torch::TensorOptions& options)
      : groups_(groups), rows_(rows), storage_(torch::empty({groups * rows * columns}, options)) {}

  torch::Tensor first(std::int64_t columns) const {
    return storage_.narrow(0, 0, groups_ * rows_ * columns).view({groups_, rows_, columns});
  }

 private:
  std::int64_t groups_;
  std::int64_t rows_;
  torch::Tensor storage_;
};

class WhitenBatch : public torch::autograd::Function<WhitenBatch> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor&, const torch::Tensor& shift,
                               const c10::intrusive_ptr<WhitenedBatch>& saved) {
    context->save_for_backward({input});
    context->saved_data["saved"] = c10::IValue::make_capsule(saved);
    const auto x = as_pixels(input);
    const auto matrix = saved->matrix.detach().to(x.scalar_type());
    const auto mean = saved->mean.to(x.scalar_type()).view({-1, 1, 1});
    const auto constant = shift.to(x.scalar_type()).view({-1, 1, 1});
    const std::int64_t groups = matrix.size(0);
    const std::int64_t size = matrix.size(1);
    const std::int64_t channels = x.size(1);
    const std::int64_t pixels = x.size(2);
    auto output = torch::empty(x.sizes(), x.options());
    const Pieces pieces(x);
    const Buffer centred_buffer(groups, size, pieces.length() * pixels, x.options());
    const Buffer white_buffer(groups, size, pieces.length() * pixels, x.options());
    pieces.for_each([&](std::int64_t first, std::int64_t count) {
      auto centred = centred_buffer.first(count * pixels);
      auto columns = centred.view({channels, count, pixels});
      torch::sub_out(columns, x.narrow(0, first, count).transpose(0, 1), mean);
      auto white = white_buffer.first(count * pixels);
      torch::bmm_out(white, matrix, centred);
      auto target = output.narrow(0, first, count).transpose(0, 1);
      torch::add_out(target, white.view({channels, count, pixels}), constant);
    });
    return output.view(input.sizes());
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto input = context->get_saved_variables()[0];
    const auto capsule = context->saved_data["saved"].toCapsule();
    const auto& saved = static_cast<const WhitenedBatch&>(*capsule);
    const auto x = as_pixels(input);
    const auto g = as_pixels(gradients[0]);
    const auto type = x.scalar_type();
    const auto mean = saved.mean.to(type).view({-1, 1, 1});
    const std::int64_t groups = saved.matrix.size(0);
    const std::int64_t size = saved.matrix.size(1);
    const std::int64_t channels = x.size(1);
    const std::int64_t pixels = x.size(2);
    const Pieces pieces(x);
    // G above centred X in each group, so that one product has both terms of the gradient.
    const Buffer both_buffer(groups, 2 * size, pieces.length() * pixels, x.options());
    const auto fill = [&](std::int64_t first, std::int64_t count) {
      auto both = both_buffer.first(count * pixels);
      const auto parts = both.view({groups, 2, size, count, pixels});
      auto upper = parts.select(1, 0);
      auto lower = parts.select(1, 1);
      const auto grouped = [&](const torch::Tensor& all) {
        return all.narrow(0, first, count)
            .view({count, groups, size, pixels})
            .permute({1, 2, 0, 3});
      };
      upper.copy_(grouped(g));
      torch::sub_out(lower, grouped(x), mean.view({groups, size, 1, 1}));
      return both;
    };

    auto of_matrix = torch::zeros({groups, size, size}, x.options());
    auto sums = torch::zeros({channels}, x.options().dtype(torch::kFloat64));
    pieces.for_each([&](std::int64_t first, std::int64_t count) {
      const auto both = fill(first, count);
      sums.add_(both.narrow(1, 0, size).sum(2).view(-1));
      of_matrix.baddbmm_(both.narrow(1, 0, size), both.narrow(1, size, size).transpose(1, 2));
    });
    const auto inner =
        torch::autograd::grad({saved.matrix}, {saved.covariance, saved.scale},
                              {of_matrix.to(torch::kFloat64)}, /*retain_graph=*/true);

    // Every rank's loss sees the mean and the covariance, so their gradients are sums over ranks.
    auto total = torch::cat({inner[0].flatten(), sums});
    if (saved.communicator->size() > 1) {
      saved.communicator->all_reduce(total);
    }
    total.div_(saved.samples);
    const auto covariance = total.narrow(0, 0, inner[0].numel()).view_as(inner[0]);
    const auto matrix = saved.matrix.detach().transpose(1, 2);
    // dX = W^T (G - its mean) + (dS + dS^T) X / n; centred X adds nothing to the mean.
    const auto factors = torch::cat({matrix, covariance + covariance.transpose(1, 2)}, 2).to(type);
    const auto constant =
        -torch::bmm(matrix, total.narrow(0, inner[0].numel(), channels).view({groups, size, 1}))
             .to(type)
             .view({channels, 1, 1});
    auto result = torch::empty(x.sizes(), x.options());
    const Buffer result_buffer(groups, size, pieces.length() * pixels, x.options());
    pieces.for_each([&](std::int64_t first, std::int64_t count) {
      auto product = result_buffer.first(count * pixels);
      torch::bmm_out(product, factors, fill(first, count));
      auto target = result.narrow(0, first, count).transpose(0, 1);
      torch::add_out(target, product.view({channels, count, pixels}), constant);
    });
    return {result.view(input.sizes()), inner[1].to(saved.parameter_type),
            sums.to(saved.parameter_type), torch::Tensor()};
  }
};

}  // namespace

BatchWhitening batch_whitening(
    const Communicator& communicator, const torch::Tensor& input, std::int64_t groups,
    const torch::Tensor& scale, const torch::Tensor& shift,
    const std::function<torch::Tensor(const torch::Tensor& covariance)>& whitening) {
  const auto x = as_pixels(input.detach());
  const std::int64_t channels = x.size(1);
  const std::int64_t pixels = x.size(2);
  const std::int64_t size = channels / groups;
  // In double, whatever the samples are: the rounding of single precision, relative to the largest
  // eigenvalue, would make small ones negative and drown epsilon, and the gradient divides by their
  // power 3/2.
  const auto wide = x.options().dtype(torch::kFloat64);
  auto sums = torch::cat(
      {channel_sums(x), torch::full({1}, static_cast<double>(x.size(0) * pixels), wide)});
  communicator.all_reduce(sums);
  auto saved = c10::make_intrusive<WhitenedBatch>();
  saved->communicator = &communicator;
  saved->parameter_type = scale.scalar_type();
  saved->samples = number_of(sums[channels], "normalisation").toDouble();
  if (saved->samples == 0) {
    throw Error(ExitCode::kInput, "a normalisation layer was given a batch without samples",
                /*agreed=*/true);
  }
  saved->mean = sums.narrow(0, 0, channels) / saved->samples;

  auto covariance = x.new_zeros({groups, size, size}, wide);
  const Pieces pieces(x);
  const Buffer buffer(groups, size, pieces.length() * pixels, wide);
  const auto mean = saved->mean.view({-1, 1, 1});
  pieces.for_each([&](std::int64_t first, std::int64_t count) {
    auto centred = buffer.first(count * pixels);
    auto columns = centred.view({channels, count, pixels});
    columns.copy_(x.narrow(0, first, count).transpose(0, 1)).sub_(mean);
    for (std::int64_t group = 0; group < groups; ++group) {
      add_gram(covariance[group], centred[group]);
    }
  });
  for (std::int64_t group = 0; group < groups; ++group) {
    mirror_lower(covariance[group]);
  }
  communicator.all_reduce(covariance);
  covariance.div_(saved->samples);

  const bool differentiable = torch::GradMode::is_enabled();
  BatchWhitening result;
  result.mean = saved->mean.unsqueeze(1);
  result.covariance = covariance;
  saved->covariance = covariance.detach().requires_grad_(differentiable);
  saved->scale = scale.detach().to(torch::kFloat64, false, true).requires_grad_(differentiable);
  const auto matrix = whitening(saved->covariance);
  result.matrix = matrix.detach();
  saved->matrix = saved->scale.view({groups, size, 1}) * matrix;
  result.output = WhitenBatch::apply(input, scale, shift, saved);
  return result;
}

}  // namespace eigenscale
