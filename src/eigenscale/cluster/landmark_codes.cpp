#include "eigenscale/cluster/landmark_codes.h"

#include <algorithm>
#include <utility>

#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

// Rows of C whose gradient exists at a time: enough for the speed of matrix products.
constexpr std::int64_t kPanelRows = 256;

}  // namespace

LandmarkCodes::LandmarkCodes(const Placement& placement, const RowPartition& partition,
                             std::vector<std::int64_t> landmarks, torch::ScalarType type,
                             const SelfExpressionOptions& options)
    : placement_(placement),
      partition_(partition),
      landmarks_(std::move(landmarks)),
      options_(options) {
  const auto& communicator = placement.data();
  for (int rank = 0; rank < communicator.size(); ++rank) {
    counts_.push_back(std::ssize(own_positions(partition.range(rank), landmarks_)));
  }
  const auto own = partition.range(communicator.rank());
  own_positions_ = placement.to_device(torch::tensor(own_positions(own, landmarks_), torch::kInt64),
                                       "row numbers");
  first_own_ = std::ranges::lower_bound(landmarks_, own.begin) - landmarks_.begin();
  const auto count = std::ssize(landmarks_);
  codes_ = torch::full({own.size(), count}, options_.initial, placement.options(type));
  first_moment_ = torch::zeros_like(codes_);
  second_moment_ = torch::zeros_like(codes_);
  panel_ = torch::empty({std::min(kPanelRows, own.size()), count}, placement.options(type));
  if (options_.norm == CoefficientNorm::kL1) {
    clear_own_codes();
  }
}

torch::Tensor LandmarkCodes::gather_landmarks(const torch::Tensor& latent) const {
  auto all = torch::empty({std::ssize(landmarks_), latent.size(0)}, latent.options());
  placement_.data().all_gather(all, latent.index_select(1, own_positions_).t().contiguous(),
                               counts_);
  return all;
}

torch::Tensor LandmarkCodes::reconstruct(const torch::Tensor& latent) const {
  const TraceSpan span("landmark codes forward");
  return torch::mm(gather_landmarks(latent).t(), codes_.t());
}

torch::Tensor LandmarkCodes::backward_and_update(const torch::Tensor& gradient,
                                                 const torch::Tensor& latent) {
  const TraceSpan span("landmark codes backward and update");
  ++steps_;
  begin_penalty();
  const auto landmarks = gather_landmarks(latent);
  auto landmark_gradient = torch::zeros_like(landmarks);
  for (std::int64_t first = 0; first < codes_.size(0); first += kPanelRows) {
    const std::int64_t count = std::min(kPanelRows, codes_.size(0) - first);
    const auto of_rows = gradient.narrow(1, first, count);  // d x count
    const auto codes = codes_.narrow(0, first, count);
    landmark_gradient.addmm_(codes.t(), of_rows.t());
    auto panel = panel_.narrow(0, 0, count);
    torch::mm_out(panel, of_rows.t(), landmarks.t());
    update(codes, panel, first_moment_.narrow(0, first, count),
           second_moment_.narrow(0, first, count), steps_, options_);
  }
  if (options_.norm == CoefficientNorm::kL1) {
    clear_own_codes();
  }
  auto own = torch::empty({own_positions_.numel(), latent.size(0)}, latent.options());
  placement_.data().reduce_scatter(own, landmark_gradient, ReduceOp::kSum, counts_);
  auto result = torch::zeros_like(latent);
  result.index_copy_(1, own_positions_, own.t());
  return result;
}

void LandmarkCodes::clear_own_codes() {
  const auto columns = torch::arange(first_own_, first_own_ + own_positions_.numel(),
                                     placement_.options(torch::kInt64));
  codes_.index_put_({own_positions_, columns}, torch::scalar_tensor(0, codes_.options()));
}

void LandmarkCodes::set_state_rows(std::size_t which, const torch::Tensor& rows) {
  copy_into(state(which), rows, "files");
}

void LandmarkCodes::finish_training() {
  first_moment_.reset();
  second_moment_.reset();
  panel_.reset();
}

}  // namespace eigenscale
