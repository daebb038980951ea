#include "eigenscale/core/random.h"

#include <Random123/philox.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace eigenscale {
namespace {

// FNV-1a: stable across platforms, unlike std::hash.
std::uint32_t hash(std::string_view text) {
  std::uint32_t value = 2166136261U;
  for (const char c : text) {
    value = (value ^ static_cast<unsigned char>(c)) * 16777619U;
  }
  return value;
}

double to_unit_interval(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32 | low) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1.0p-53;
}

}  // namespace

CounterRandom::CounterRandom(std::uint64_t seed, std::string_view stream)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
      stream_(hash(stream)) {}

std::array<std::uint32_t, 4> CounterRandom::bits(std::uint64_t index, std::uint32_t lane) const {
  const r123::Philox4x32::ctr_type counter = {
      {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), lane, stream_}};
  const r123::Philox4x32::key_type key = {{key_[0], key_[1]}};
  const auto words = r123::Philox4x32()(counter, key);
  return {words[0], words[1], words[2], words[3]};
}

double CounterRandom::uniform(std::uint64_t index, std::uint32_t lane) const {
  const auto words = bits(index, lane);
  return to_unit_interval(words[0], words[1]);
}

double CounterRandom::normal(std::uint64_t index, std::uint32_t lane) const {
  const auto words = bits(index, lane);
  return std::sqrt(-2 * std::log(to_unit_interval(words[0], words[1]))) *
         std::cos(2 * std::numbers::pi * to_unit_interval(words[2], words[3]));
}

std::uint64_t CounterRandom::integer(std::uint64_t bound, std::uint64_t index,
                                     std::uint32_t lane) const {
  const auto words = bits(index, lane);
  const std::uint64_t word = static_cast<std::uint64_t>(words[0]) << 32 | words[1];
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(word) * bound >> 64);
}

std::vector<std::int64_t> CounterRandom::permutation(std::int64_t n, std::uint32_t lane) const {
  std::vector<double> key(n);
  for (std::int64_t i = 0; i < n; ++i) {
    key[i] = uniform(i, lane);
  }
  std::vector<std::int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](auto a, auto b) { return key[a] < key[b]; });
  return order;
}

}  // namespace eigenscale
