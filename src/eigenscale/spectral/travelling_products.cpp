#include "eigenscale/spectral/travelling_products.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "eigenscale/linalg/gram.h"

namespace eigenscale {
namespace {

/// [collective] Calls work(rank, its block) for the blocks of all ranks, counts[rank] x width each.
void for_each_block(const Communicator& communicator, const torch::Tensor& own,
                    const std::vector<std::int64_t>& counts,
                    const std::function<void(int rank, const torch::Tensor& block)>& work) {
  struct Travelling {
    torch::Tensor block;
    std::unique_ptr<Work> arriving;
  };
  const auto start = [&](int rank) {
    Travelling result;
    result.block = rank == communicator.rank()
                       ? own.contiguous()
                       : torch::empty({counts[rank], own.size(1)}, own.options());
    if (communicator.size() > 1 && counts[rank] > 0) {
      result.arriving = communicator.start_broadcast(result.block, rank);
    }
    return result;
  };
  auto next = start(0);
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const auto present = std::move(next);
    if (rank + 1 < communicator.size()) {
      next = start(rank + 1);
    }
    if (present.arriving) {
      present.arriving->wait();
    }
    work(rank, present.block);
  }
}

/// [collective] How many rows each rank has.
std::vector<std::int64_t> counts_of(const Communicator& control, std::int64_t rows) {
  auto counts = torch::zeros({control.size()}, torch::kInt64);
  counts[control.rank()] = rows;
  control.all_reduce(counts);
  return {counts.data_ptr<std::int64_t>(), counts.data_ptr<std::int64_t>() + counts.numel()};
}

}  // namespace

DeviceGram::DeviceGram(const Placement& placement, std::int64_t features)
    : placement_(placement),
      own_(RowPartition(features, placement.control().size()).range(placement.control().rank())),
      sum_(torch::zeros({own_.size(), features}, placement.options(torch::kFloat64))) {}

void DeviceGram::add(const torch::Tensor& rows) {
  const auto counts = counts_of(placement_.control(), rows.size(0));
  const std::int64_t most = rows.scalar_type() == torch::kFloat64
                                ? std::max<std::int64_t>(rows.size(0), 1)
                                : kSingleProducts;
  for_each_block(placement_.data(), rows, counts, [&](int, const torch::Tensor& block) {
    for (std::int64_t first = 0; first < block.size(0); first += most) {
      const auto some = block.narrow(0, first, std::min(most, block.size(0) - first));
      const auto own_columns = some.narrow(1, own_.begin, own_.size()).t();
      if (rows.scalar_type() == torch::kFloat64) {
        sum_.addmm_(own_columns, some);
      } else {
        sum_.add_(own_columns.mm(some));
      }
    }
  });
}

torch::Tensor DeviceGram::own_rows() const { return placement_.to_host(sum_, "covariance"); }

DeviceProduct::DeviceProduct(const Placement& placement, std::int64_t rows,
                             const torch::Tensor& own_rows)
    : placement_(placement),
      partition_(rows, placement.control().size()),
      own_(placement.to_device(own_rows, "transform")) {}

torch::Tensor DeviceProduct::operator()(const torch::Tensor& rows) const {
  auto result = torch::zeros({rows.size(0), columns()}, rows.options());
  for_each_block(placement_.data(), own_, partition_.counts(),
                 [&](int rank, const torch::Tensor& block) {
                   const auto range = partition_.range(rank);
                   result.addmm_(rows.narrow(1, range.begin, range.size()), block);
                 });
  return result;
}

}  // namespace eigenscale
