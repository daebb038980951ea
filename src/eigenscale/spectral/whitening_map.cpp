#include "eigenscale/spectral/whitening_map.h"

#include "eigenscale/linalg/products.h"
#include "eigenscale/spectral/streamed_covariance.h"

namespace eigenscale {

torch::Tensor DenseWhitening::apply(const torch::Tensor& centred) const {
  const auto samples = distribute_samples(matrix_.layout().grid, centred);
  return own_rows_of(multiply(matrix_, samples, !symmetric_, false), centred.size(0));
}

torch::Tensor WholeWhitening::apply(const torch::Tensor& centred) const {
  return centred.matmul(matrix_);
}

torch::Tensor LowRankWhitening::apply(const torch::Tensor& centred) const {
  auto coordinates = centred.matmul(components_);
  return (centred * rest_).addmm_(coordinates.mul_(factors_ - rest_), components_.t());
}

}  // namespace eigenscale
