#include "eigenscale/cluster/starved_clusters.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "eigenscale/cluster/extreme_rows.h"
#include "eigenscale/comm/agreement.h"

namespace eigenscale {

std::int64_t refill_starved_clusters(const Communicator& communicator, const RowProvider& rows,
                                     std::int64_t first_row, const torch::Tensor& residuals,
                                     const torch::Tensor& sizes, std::int64_t dimension,
                                     const torch::Tensor& bases) {
  const std::int64_t features = bases.size(1);
  const std::int64_t columns = bases.size(2);
  std::vector<std::int64_t> starved;
  for (std::int64_t k = 0; k < bases.size(0); ++k) {
    if (sizes[k].item<std::int64_t>() < dimension) {
      starved.push_back(k);
    }
  }
  if (starved.empty()) {
    return 0;
  }
  const auto worst =
      extreme_rows(communicator, first_row, residuals, std::ssize(starved) * columns, true);
  auto taken = torch::zeros({std::ssize(starved) * columns, features}, torch::kFloat64);
  on_all_ranks(communicator, [&] {
    std::vector<std::int64_t> positions;
    std::vector<std::int64_t> places;
    for (std::int64_t i = 0; i < std::ssize(worst); ++i) {
      const std::int64_t own = worst[i] - first_row;
      if (own >= 0 && own < rows.rows()) {
        positions.push_back(own);
        places.push_back(i);
      }
    }
    taken.index_copy_(0, torch::tensor(places, torch::kInt64),
                      rows.read_at(positions, torch::kFloat64));
  });
  communicator.all_reduce(taken);  // one owner each and zeros elsewhere: exact
  for (std::int64_t i = 0; i < std::ssize(starved); ++i) {
    // Rows may depend on each other: unit vectors behind them keep the columns orthonormal.
    const auto wide = torch::cat({taken.narrow(0, i * columns, columns).t(),
                                  1e-6 * torch::eye(features, columns, torch::kFloat64)},
                                 1);
    bases[starved[i]].copy_(std::get<0>(torch::linalg_svd(wide, false)).narrow(1, 0, columns));
  }
  return std::ssize(starved);
}

}  // namespace eigenscale
