#pragma once

#include <cstdint>

#include "eigenscale/core/random.h"

namespace eigenscale {

/// A pseudo-random permutation of 0 .. n-1 that is computed index by index, so that it needs no
/// memory: a Feistel network over the smallest even number of bits that holds n, applied again
/// while the result is n or more (cycle walking, Black and Rogaway, CT-RSA 2002). On average fewer
/// than four passes.
class IndexPermutation {
 public:
  IndexPermutation(std::int64_t n, std::uint64_t seed);

  /// [local] Where `index` goes.
  std::int64_t operator()(std::int64_t index) const;

 private:
  CounterRandom random_;
  std::uint64_t n_;
  int half_bits_;
};

}  // namespace eigenscale
