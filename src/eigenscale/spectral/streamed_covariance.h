#pragma once

#include <memory>
#include <optional>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_stream.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/linalg/symmetric_eigen.h"
#include "eigenscale/spectral/travelling_products.h"

namespace eigenscale {

struct FeatureMoments {
  torch::Tensor mean;         ///< D doubles, on all ranks
  std::int64_t constant = 0;  ///< features that have one value in all samples
};

/// [collective] One pass over the rows, which lie as `placement` says; the moments are on the host.
FeatureMoments feature_moments(const Placement& placement, const RowStream& stream);

/// [local] Whether X^T X of N rows of D features is summed sooner by every rank whole, D x D, for
/// its own rows, than in blocks to which all rows travel: D of at most 4,096, and rows enough, N at
/// least 2 D and 1,024 a rank. On one rank always.
bool sums_whole(std::int64_t rows, std::int64_t features, std::int64_t ranks);

/// How products of rows on the host are summed.
enum class GramSum {
  kBlocks,       ///< in blocks on the grid, to which all rows travel
  kOwnRows,      ///< D x D on every rank, of its own rows; then in blocks on the grid
  kOnFirstRank,  ///< D x D on every rank; then whole on the first, in one block
};

/// [collective] The soonest for N rows of D features whose covariance `wanted` pairs are asked of:
/// where one rank will solve that, it gets the sum.
GramSum way_of_sum(std::int64_t rows, std::int64_t features, EigenRange wanted,
                   const Communicator& all);

/// Sums products of rows that arrive piece by piece from all ranks: X^T X, D x D, in double and
/// square blocks on a grid, so no rank holds more of D x D than its block (twice while the sum is
/// taken), or, where that is asked for, D x D. Products are in double, too, or in
/// single precision of short blocks (linalg/gram.h has the bound), which leaves small eigenvalues
/// to rounding: spectral/covariance_precision.h says when that matters.
class GramAccumulator {
 public:
  /// `products`: double or float.
  GramAccumulator(std::shared_ptr<const ProcessGrid> grid, std::int64_t features,
                  torch::ScalarType products = torch::kFloat64);
  /// For rows that lie as `placement` says. On a device a rank sums whole rows of X^T X there, and
  /// brings them to the host, into blocks, at the end.
  GramAccumulator(std::shared_ptr<const ProcessGrid> grid, const Placement& placement,
                  std::int64_t features, torch::ScalarType products = torch::kFloat64,
                  GramSum how = GramSum::kBlocks);

  /// [collective] This rank's rows, m x D of any floating type; m may differ between ranks.
  void add(const torch::Tensor& rows);
  /// [collective] What `distribute_samples` returned, multiplied in its own type; kBlocks only.
  void add(const DistributedMatrix& samples);

  /// [collective] The sum, which the caller owns from now on. Ends the accumulator.
  DistributedMatrix take_sum();

 private:
  /// [collective]
  DistributedMatrix take_whole_sum();

  BlockCyclicLayout layout_;
  DistributedMatrix sum_;    // its lower triangle; on the host
  torch::Tensor whole_sum_;  // or D x D of own rows, the same
  GramSum how_ = GramSum::kBlocks;
  std::optional<DeviceGram> on_device_;
  torch::ScalarType products_;
};

/// Rows of D x D, up to the diagonal, that ranks sum at once.
constexpr std::int64_t kSummedRows = 256;

/// The blocks in which matrices of D x D, and of anything x D, lie on a grid.
BlockCyclicLayout feature_layout(std::int64_t rows, std::int64_t columns,
                                 std::shared_ptr<const ProcessGrid> grid);

/// [collective] The rows of all ranks (m x D, m may differ) as the columns of a matrix, X^T, in the
/// type of the rows; columns of zeros fill up ranks. On a grid of one process row a rank keeps its
/// samples, and where all ranks have as many the matrix shares the memory of contiguous rows.
DistributedMatrix distribute_samples(const std::shared_ptr<const ProcessGrid>& grid,
                                     const torch::Tensor& rows);

/// [collective] The way back: this rank's first `count` samples as rows, from a matrix that
/// `distribute_samples` made, or a product of it with another one on the left.
torch::Tensor own_rows_of(const DistributedMatrix& samples, std::int64_t count);

}  // namespace eigenscale
