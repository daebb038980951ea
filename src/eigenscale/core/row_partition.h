#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace eigenscale {

/// A contiguous range of rows, `begin` included, `end` not.
struct RowRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

/// N rows cut into one contiguous block per rank. Every block has `block()` = ceil(N / P) rows but
/// the last that has any, and the ranks after it own none: the only cut that is also a legal
/// block-cyclic distribution.
class RowPartition {
 public:
  RowPartition(std::int64_t rows, int ranks)
      : rows_(rows), ranks_(ranks), block_(std::max<std::int64_t>(1, (rows + ranks - 1) / ranks)) {}

  std::int64_t rows() const { return rows_; }
  int ranks() const { return ranks_; }
  std::int64_t block() const { return block_; }
  RowRange range(int rank) const {
    return {std::min(rows_, rank * block_), std::min(rows_, (rank + 1) * block_)};
  }
  int owner(std::int64_t row) const { return static_cast<int>(row / block_); }
  /// Rows per rank, as the ragged collectives want them.
  std::vector<std::int64_t> counts() const {
    std::vector<std::int64_t> result(ranks_);
    for (int rank = 0; rank < ranks_; ++rank) {
      result[rank] = range(rank).size();
    }
    return result;
  }

 private:
  std::int64_t rows_;
  int ranks_;
  std::int64_t block_;
};

}  // namespace eigenscale
