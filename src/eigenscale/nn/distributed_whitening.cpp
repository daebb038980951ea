#include "eigenscale/nn/distributed_whitening.h"

#include <utility>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/spectral/distributed_matrix_function.h"
#include "eigenscale/spectral/streamed_covariance.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;
using Grid = std::shared_ptr<const ProcessGrid>;

/// S + e I in place.
void shift_diagonal(DistributedMatrix& matrix, double epsilon, bool relative) {
  const auto own = own_diagonal(matrix.layout());
  const auto diagonal = matrix.local().index({own.rows, own.columns});
  if (relative) {
    const double trace = all_reduce(matrix.layout().grid->all(), diagonal.sum().item<double>());
    epsilon *= trace / static_cast<double>(matrix.layout().rows);
  }
  matrix.local().index_put_({own.rows, own.columns}, diagonal + epsilon);
}

/// What the backward pass needs of the forward one.
struct DistributedWhitenedBatch final : torch::CustomClassHolder {
  DistributedWhitenedBatch(Grid process_grid, const DistributedMatrix& shifted)
      : grid(std::move(process_grid)), root(shifted, SpectralFunction::inverse_square_root()) {}

  Grid grid;
  DistributedMatrixFunction root;
  /// All samples, centred, as columns.
  DistributedMatrix centred;
  double samples = 0;
};

class WhiteningFunction : public torch::autograd::Function<WhiteningFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& columns,
                               const c10::intrusive_ptr<DistributedWhitenedBatch>& saved) {
    context->saved_data["saved"] = c10::IValue::make_capsule(saved);
    context->saved_data["own"] = columns.size(1);
    const auto white = multiply(saved->root.value(), saved->centred);
    return own_rows_of(white, columns.size(1)).t().to(columns.scalar_type()).contiguous();
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto capsule = context->saved_data["saved"].toCapsule();
    const auto& saved = static_cast<const DistributedWhitenedBatch&>(*capsule);
    const std::int64_t own = context->saved_data["own"].toInt();
    const auto output = distribute_samples(saved.grid, gradients[0].t().to(torch::kFloat64));
    // Y = W Xc: dXc = W dY + (2 / n) dS Xc with dS of dW = dY Xc^T, and dX = dXc - its mean.
    auto centred = multiply(saved.root.value(), output);
    const auto covariance = saved.root.backward(multiply(output, saved.centred, false, true));
    centred.local().add_(multiply(covariance, saved.centred).local(), 2 / saved.samples);
    auto rows = own_rows_of(centred, own);
    auto mean = rows.sum(0);
    saved.grid->all().all_reduce(mean);
    rows = rows - mean / saved.samples;
    return {rows.t().to(gradients[0].scalar_type()).contiguous(), torch::Tensor()};
  }
};

}  // namespace

DistributedWhitening distributed_whitening(const Grid& grid, const torch::Tensor& columns,
                                           double epsilon, bool relative) {
  const auto& all = grid->all();
  const double samples = static_cast<double>(all_reduce(all, columns.size(1)));
  if (samples == 0) {
    throw Error(ExitCode::kInput, "a normalisation layer was given a batch without samples",
                /*agreed=*/true);
  }
  const auto rows = columns.detach().t().to(torch::kFloat64);
  auto mean = rows.sum(0).contiguous();
  all.all_reduce(mean);
  mean.div_(samples);
  GramAccumulator products(grid, columns.size(0));
  const auto centred = distribute_samples(grid, rows - mean);
  products.add(centred);
  auto covariance = products.take_sum();
  covariance.local().div_(samples);
  DistributedWhitening result;
  result.mean = mean.unsqueeze(1);
  result.covariance = covariance.local().clone();
  shift_diagonal(covariance, epsilon, relative);
  auto saved = c10::make_intrusive<DistributedWhitenedBatch>(grid, covariance);
  saved->centred = centred;
  saved->samples = samples;
  result.output = WhiteningFunction::apply(columns, saved);
  return result;
}

DistributedMatrix whitening_matrix(const Grid& grid, const torch::Tensor& covariance,
                                   std::int64_t channels, double epsilon, bool relative) {
  auto shifted =
      DistributedMatrix::zeros(feature_layout(channels, channels, grid), torch::kFloat64);
  shifted.local().copy_(covariance);
  shift_diagonal(shifted, epsilon, relative);
  return DistributedMatrixFunction(shifted, SpectralFunction::inverse_square_root()).value();
}

torch::Tensor whiten_by(const DistributedMatrix& matrix, const torch::Tensor& columns,
                        const torch::Tensor& mean) {
  const torch::NoGradGuard no_grad;
  const auto rows = (columns - mean).t().to(torch::kFloat64);
  const auto white = multiply(matrix, distribute_samples(matrix.layout().grid, rows));
  return own_rows_of(white, columns.size(1)).t().to(columns.scalar_type()).contiguous();
}

}  // namespace eigenscale
