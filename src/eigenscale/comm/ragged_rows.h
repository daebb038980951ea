#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

inline std::int64_t total_rows(const Communicator::Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

/// std::invalid_argument unless `tensor` has the rows that the counts say: a collective would read
/// or write beyond it. In debug builds more are wrong, too.
inline void require_rows(const torch::Tensor& tensor, std::int64_t rows, const char* what) {
#ifdef NDEBUG
  const bool fits = tensor.size(0) >= rows;
#else
  const bool fits = tensor.size(0) == rows;
#endif
  if (!fits) {
    throw std::invalid_argument(std::string("the ") + what + " of a collective has " +
                                std::to_string(tensor.size(0)) + " rows, its counts say " +
                                std::to_string(rows));
  }
}

/// std::invalid_argument unless there is one count for each of `ranks`.
inline void require_counts(const Communicator::Counts& counts, int ranks) {
  if (std::ssize(counts) != ranks) {
    throw std::invalid_argument("ragged counts need one entry per rank");
  }
}

}  // namespace eigenscale
