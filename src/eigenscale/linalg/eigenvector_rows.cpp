#include "eigenscale/linalg/eigenvector_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

// Independent maxima, so that none waits for the one before.
constexpr std::int64_t kLanes = 8;

/// Without their sign, doubles are ordered as the integers of the same bits, and what is not finite
/// comes last.
std::uint64_t largest_bits(const double* values, std::int64_t count, std::uint64_t so_far) {
  constexpr std::uint64_t kMagnitude = std::numeric_limits<std::int64_t>::max();
  std::array<std::uint64_t, kLanes> largest{};
  largest[0] = so_far;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const auto bits = std::bit_cast<std::uint64_t>(values[i + lane]) & kMagnitude;
      largest[lane] = std::max(largest[lane], bits);
    }
  }
  for (; i < count; ++i) {
    largest[0] = std::max(largest[0], std::bit_cast<std::uint64_t>(values[i]) & kMagnitude);
  }
  return *std::ranges::max_element(largest);
}

double finite_or_infinity(std::uint64_t bits) {
  const double magnitude = std::bit_cast<double>(bits);
  return std::isfinite(magnitude) ? magnitude : std::numeric_limits<double>::infinity();
}

struct Extremes {
  double high;
  double low;
};

Extremes extremes_of(const double* values, std::int64_t count) {
  std::array<double, kLanes> high;
  std::array<double, kLanes> low;
  high.fill(values[0]);
  low.fill(values[0]);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      high[lane] = value > high[lane] ? value : high[lane];
      low[lane] = value < low[lane] ? value : low[lane];
    }
  }
  for (; i < count; ++i) {
    high[0] = std::max(high[0], values[i]);
    low[0] = std::min(low[0], values[i]);
  }
  return {*std::ranges::max_element(high), *std::ranges::min_element(low)};
}

}  // namespace

double largest_magnitude(const torch::Tensor& entries) {
  if (entries.numel() == 0) {
    return 0;
  }
  const bool flat = entries.dim() < 2 || entries.stride(1) == 1;
  const auto lines = entries.dim() < 2 ? entries.unsqueeze(0) : flat ? entries : entries.t();
  const auto* first = lines.data_ptr<double>();
  std::uint64_t largest = 0;
  for (std::int64_t line = 0; line < lines.size(0); ++line) {
    largest = largest_bits(first + line * lines.stride(0), lines.size(1), largest);
  }
  return finite_or_infinity(largest);
}

double copy_with_largest(const torch::Tensor& to, const torch::Tensor& from) {
  if (from.scalar_type() != torch::kFloat64 || from.stride(0) != 1) {
    to.copy_(from);
    return largest_magnitude(to);
  }
  // Column by column: what was just copied is in the first cache.
  const auto* source = from.data_ptr<double>();
  auto* target = to.data_ptr<double>();
  const std::int64_t rows = from.size(0);
  std::uint64_t largest = 0;
  for (std::int64_t column = 0; column < from.size(1); ++column) {
    auto* copy = target + column * to.stride(1);
    std::copy_n(source + column * from.stride(1), rows, copy);
    largest = largest_bits(copy, rows, largest);
  }
  return finite_or_infinity(largest);
}

torch::Tensor column_extremes(const torch::Tensor& vectors, const torch::Tensor& order) {
  const std::int64_t count = order.size(0);
  auto result = torch::zeros({2, count}, torch::kFloat64);
  if (vectors.size(0) == 0) {
    return result;
  }
  const auto* columns = vectors.data_ptr<double>();
  const auto* from = order.data_ptr<std::int64_t>();
  auto* extremes = result.data_ptr<double>();
  for (std::int64_t j = 0; j < count; ++j) {
    const auto [high, low] = extremes_of(columns + from[j] * vectors.stride(1), vectors.size(0));
    extremes[j] = high;
    extremes[count + j] = -low;
  }
  return result;
}

torch::Tensor signs_by(const torch::Tensor& extremes) {
  auto signs = torch::ones({extremes.size(1)}, extremes.options());
  return signs.masked_fill_(extremes[0] < extremes[1] * (1 - 1e-10), -1);
}

AgreedPairs agreed_pairs(const Communicator& all, const torch::Tensor& values,
                         const torch::Tensor& extremes) {
  // The largest of a number and infinities below it is the number.
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  const auto said = all.rank() == 0 ? values : torch::full_like(values, kNothing);
  const auto message = torch::cat({extremes, said.unsqueeze(0)});
  all.all_reduce(message, ReduceOp::kMax);
  AgreedPairs agreed{message[2], message.narrow(0, 0, 2)};
  // MPI does not say which of NaN and -infinity is larger; neither is finite.
  if (!std::isfinite(largest_magnitude(agreed.values))) {
    throw Error(ExitCode::kNumerical, "an eigensolver returned eigenvalues that are not finite",
                /*agreed=*/true);
  }
  return agreed;
}

void fill_rows(const torch::Tensor& rows, const torch::Tensor& vectors, const torch::Tensor& order,
               const torch::Tensor& signs) {
  // Both sides of a tile stay in the first cache.
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kColumns = 16;
  const std::int64_t n = rows.size(0);
  const std::int64_t count = order.size(0);
  const auto* from = order.data_ptr<std::int64_t>();
  const auto* sign = signs.data_ptr<double>();
  const auto* source = vectors.data_ptr<double>();
  const std::int64_t stride = vectors.stride(1);
  auto* target = rows.data_ptr<double>();
  for (std::int64_t top = 0; top < n; top += kRows) {
    const std::int64_t bottom = std::min(top + kRows, n);
    for (std::int64_t left = 0; left < count; left += kColumns) {
      const std::int64_t width = std::min(kColumns, count - left);
      std::array<const double*, kColumns> column;
      std::array<double, kColumns> factor;
      for (std::int64_t j = 0; j < width; ++j) {
        column[j] = source + from[left + j] * stride;
        factor[j] = sign[left + j];
      }
      for (std::int64_t i = top; i < bottom; ++i) {
        auto* line = target + i * rows.stride(0) + left;
        for (std::int64_t j = 0; j < width; ++j) {
          line[j] = factor[j] * column[j][i];
        }
      }
    }
  }
}

}  // namespace eigenscale
