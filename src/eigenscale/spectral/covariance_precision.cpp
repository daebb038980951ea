#include "eigenscale/spectral/covariance_precision.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "eigenscale/core/random.h"
#include "eigenscale/linalg/positive_definite.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kDirections = 4;
constexpr double kWhiteTo = 1e-4;

double least_variance(const DistributedMatrix& covariance) {
  const auto own = own_diagonal(covariance.layout());
  const auto diagonal = covariance.local().index({own.rows, own.columns});
  return all_reduce(covariance.layout().grid->all(),
                    diagonal.numel() > 0 ? diagonal.min().item<double>()
                                         : std::numeric_limits<double>::infinity(),
                    ReduceOp::kMin);
}

}  // namespace

CovarianceProbe::CovarianceProbe(const Placement& placement, std::int64_t features)
    : placement_(placement),
      signs_(torch::empty({features, kDirections}, torch::kFloat64)),
      images_(torch::zeros({features, kDirections}, placement.options(torch::kFloat64))) {
  const CounterRandom random(1, "covariance probe");
  auto* next = signs_.data_ptr<double>();
  for (std::int64_t i = 0; i < signs_.numel(); ++i) {
    next[i] = (random.bits(static_cast<std::uint64_t>(i))[0] & 1) == 0 ? 1 : -1;
  }
  directions_ = placement.to_device(signs_, "covariance probe");
}

void CovarianceProbe::add(const torch::Tensor& centred) {
  constexpr std::int64_t kNumbers = 1 << 16;  // their doubles stay in the cache
  const std::int64_t count = std::max<std::int64_t>(8, kNumbers / centred.size(1));
  for (std::int64_t first = 0; first < centred.size(0); first += count) {
    const auto rows =
        centred.narrow(0, first, std::min(count, centred.size(0) - first)).to(torch::kFloat64);
    images_.addmm_(rows.t(), rows.matmul(directions_));
  }
}

double CovarianceProbe::error(const DistributedMatrix& covariance, double samples) {
  const auto& layout = covariance.layout();
  const Communicator& all = layout.grid->all();
  auto product = torch::zeros_like(signs_);
  product.index_add_(0, layout.global_rows(),
                     covariance.local().matmul(signs_.index_select(0, layout.global_columns())));
  product.sub_(placement_.to_host(images_, "covariance probe") / samples);
  all.all_reduce(product);
  return 2 * std::sqrt(product.square().sum().item<double>() / static_cast<double>(signs_.numel()));
}

bool is_precise_enough(const DistributedMatrix& covariance, double error, double epsilon,
                       std::int64_t samples) {
  // The least l + epsilon that stands the error.
  const double least = error / kWhiteTo;
  if (least <= epsilon) {
    return true;
  }
  // An eigenvalue is at most the least variance of a feature, and 0 where samples are too few.
  if (samples <= covariance.layout().rows || least_variance(covariance) + epsilon < least) {
    return false;
  }
  return is_positive_definite(covariance, epsilon - least);
}

}  // namespace eigenscale
