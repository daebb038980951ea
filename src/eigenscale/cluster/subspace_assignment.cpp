#include "eigenscale/cluster/subspace_assignment.h"

#include <algorithm>

#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

/// Labels of `count` rows from their coordinates in all bases, count x K s.
template <typename Scalar>
void nearest(const Scalar* coordinates, std::int64_t count, std::int64_t clusters,
             std::int64_t dimension, std::int64_t* labels, float* residuals, float* projections) {
  for (std::int64_t i = 0; i < count; ++i) {
    double smallest = 2;
    std::int64_t label = 0;
    for (std::int64_t k = 0; k < clusters; ++k) {
      Scalar square = 0;
      for (std::int64_t j = 0; j < dimension; ++j) {
        square += coordinates[j] * coordinates[j];
      }
      coordinates += dimension;
      if (projections != nullptr) {
        *projections++ = static_cast<float>(square);
      }
      const double residual = std::max(0.0, 1 - static_cast<double>(square));
      if (residual < smallest) {
        smallest = residual;
        label = k;
      }
    }
    labels[i] = label;
    residuals[i] = static_cast<float>(smallest);
  }
}

}  // namespace

SubspaceAssigner::SubspaceAssigner(const torch::Tensor& bases)
    : clusters_(bases.size(0)),
      features_(bases.size(1)),
      dimension_(bases.size(2)),
      wide_(bases.permute({1, 0, 2}).reshape({features_, clusters_ * dimension_}).contiguous()),
      block_(torch::zeros({kBlock, features_}, bases.options())),
      products_(torch::empty({kBlock, clusters_ * dimension_}, bases.options())) {}

SubspaceAssigner::SubspaceAssigner(const Placement& placement, const torch::Tensor& bases)
    : SubspaceAssigner(placement.to_device(bases, "bases")) {
  on_device_ = placement.on_device();
  if (on_device_) {
    block_ = torch::zeros({kDeviceBlock, features_}, bases.options().device(placement.device()));
    products_ = torch::empty({kDeviceBlock, clusters_ * dimension_}, block_.options());
  }
}

/// On a device: the rows whose coordinates in all bases are `products`, count x K s.
void SubspaceAssigner::assign_block(const torch::Tensor& products,
                                    const RowAssignment& result) const {
  const auto squares = products.view({-1, clusters_, dimension_}).square().sum(2);
  // The first of the smallest.
  const auto [residuals, labels] = (1 - squares.to(torch::kFloat64)).clamp_min_(0).min(1);
  torch::Tensor(result.labels).copy_(labels);
  torch::Tensor(result.residuals).copy_(residuals);
  if (result.projections.defined()) {
    torch::Tensor(result.projections).copy_(squares);
  }
}

void SubspaceAssigner::assign(const torch::Tensor& rows, std::int64_t first,
                              const RowAssignment& result) const {
  const TraceSpan span("assign rows");
  const torch::NoGradGuard no_grad;
  const bool wanted = result.projections.defined();
  const std::int64_t end = first + rows.size(0);
  const std::int64_t size = block_.size(0);
  auto products = products_;
  for (std::int64_t begin = first; begin < end;) {
    const std::int64_t start = begin / size * size;
    const std::int64_t stop = std::min(start + size, end);
    const std::int64_t count = stop - begin;
    const auto own = rows.narrow(0, begin - first, count);
    if (count == size) {
      torch::mm_out(products, own, wide_);
    } else {
      block_.zero_();
      block_.narrow(0, begin - start, count).copy_(own);
      torch::mm_out(products, block_, wide_);
    }
    const std::int64_t at = begin - first;
    if (on_device_) {
      assign_block(products.narrow(0, begin - start, count),
                   {result.labels.narrow(0, at, count), result.residuals.narrow(0, at, count),
                    wanted ? result.projections.narrow(0, at, count) : torch::Tensor()});
      begin = stop;
      continue;
    }
    auto* labels = result.labels.data_ptr<std::int64_t>() + at;
    auto* residuals = result.residuals.data_ptr<float>() + at;
    auto* projections = wanted ? result.projections.data_ptr<float>() + at * clusters_ : nullptr;
    const std::int64_t skipped = (begin - start) * clusters_ * dimension_;
    if (rows.scalar_type() == torch::kFloat64) {
      nearest(products.data_ptr<double>() + skipped, count, clusters_, dimension_, labels,
              residuals, projections);
    } else {
      nearest(products.data_ptr<float>() + skipped, count, clusters_, dimension_, labels, residuals,
              projections);
    }
    begin = stop;
  }
}

}  // namespace eigenscale
