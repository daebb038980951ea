#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace eigenscale {

/// Counter-based random numbers (Philox 4x32-10 of Salmon et al., SC 2011, by Random123). A draw
/// is a pure function of (seed, stream, index, lane): no state, so that no result depends on how
/// many ranks there are or in which order they draw.
class CounterRandom {
 public:
  /// `stream` names what the numbers are for ("kmeans", "encoder.conv1.weight", ...).
  CounterRandom(std::uint64_t seed, std::string_view stream);

  /// Four words that belong to (index, lane).
  std::array<std::uint32_t, 4> bits(std::uint64_t index, std::uint32_t lane = 0) const;
  /// Uniform in (0, 1), 53 bits.
  double uniform(std::uint64_t index, std::uint32_t lane = 0) const;
  /// Standard normal, by Box-Muller. lane distinguishes several draws for one index.
  double normal(std::uint64_t index, std::uint32_t lane = 0) const;
  /// Uniform integer in [0, bound), without bias worth naming (64-bit multiply-high).
  std::uint64_t integer(std::uint64_t bound, std::uint64_t index, std::uint32_t lane = 0) const;
  /// A permutation of 0 .. n-1, the same on every rank: n draws sorted. O(n) memory.
  std::vector<std::int64_t> permutation(std::int64_t n, std::uint32_t lane = 0) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint32_t stream_;
};

}  // namespace eigenscale
