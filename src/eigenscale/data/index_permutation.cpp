#include "eigenscale/data/index_permutation.h"

#include <algorithm>
#include <bit>

namespace eigenscale {

IndexPermutation::IndexPermutation(std::int64_t n, std::uint64_t seed)
    : random_(seed, "index permutation"),
      n_(static_cast<std::uint64_t>(n)),
      half_bits_(std::max(1, (static_cast<int>(std::bit_width(n_ - 1)) + 1) / 2)) {}

std::int64_t IndexPermutation::operator()(std::int64_t index) const {
  // Four rounds make a strong pseudo-random permutation (Luby and Rackoff, 1988) when the halves
  // are wide; small sets get a few more.
  constexpr std::uint32_t kRounds = 6;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  auto value = static_cast<std::uint64_t>(index);
  do {
    std::uint64_t left = value >> half_bits_;
    std::uint64_t right = value & mask;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      const auto words = random_.bits(right, round);
      const std::uint64_t word = static_cast<std::uint64_t>(words[0]) << 32 | words[1];
      const std::uint64_t next = left ^ (word & mask);
      left = right;
      right = next;
    }
    value = left << half_bits_ | right;
  } while (value >= n_);
  return static_cast<std::int64_t>(value);
}

}  // namespace eigenscale
