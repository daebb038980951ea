#include "eigenscale/cluster/unit_rows.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

constexpr const char* kNotFinite =
    "the features of a row are not finite; rescale the data by --scale";

/// A row whose squared length over- or underflows, or is zero (false).
template <typename Scalar>
bool scale_unusual_row(Scalar* row, std::int64_t features) {
  double largest = 0;
  bool finite = true;
  for (std::int64_t j = 0; j < features; ++j) {
    finite = finite && std::isfinite(row[j]);
    largest = std::max(largest, std::abs(static_cast<double>(row[j])));
  }
  if (!finite) {
    throw NumericalError(kNotFinite);
  }
  if (largest == 0) {
    return false;
  }
  double sum = 0;
  for (std::int64_t j = 0; j < features; ++j) {
    const double value = row[j] / largest;
    sum += value * value;
  }
  const double length = std::sqrt(sum);
  for (std::int64_t j = 0; j < features; ++j) {
    row[j] = static_cast<Scalar>(row[j] / largest / length);
  }
  return true;
}

template <typename Scalar>
std::int64_t scale_rows(Scalar* row, std::int64_t count, std::int64_t features) {
  std::int64_t zeros = 0;
  for (std::int64_t i = 0; i < count; ++i, row += features) {
    // Four sums side by side: one alone would wait for each addition.
    std::array<double, 4> sums{};
    std::int64_t j = 0;
    for (; j + 4 <= features; j += 4) {
      for (std::int64_t lane = 0; lane < 4; ++lane) {
        const double value = row[j + lane];
        sums[lane] += value * value;
      }
    }
    for (; j < features; ++j) {
      const double value = row[j];
      sums[0] += value * value;
    }
    const double square = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    if (!std::isnormal(square)) {
      zeros += scale_unusual_row(row, features) ? 0 : 1;
      continue;
    }
    const double factor = 1 / std::sqrt(square);
    for (j = 0; j < features; ++j) {
      row[j] = static_cast<Scalar>(row[j] * factor);
    }
  }
  return zeros;
}

}  // namespace

std::int64_t scale_to_unit_rows(const torch::Tensor& rows) {
  if (rows.scalar_type() == torch::kFloat64) {
    return scale_rows(rows.data_ptr<double>(), rows.size(0), rows.size(1));
  }
  return scale_rows(rows.data_ptr<float>(), rows.size(0), rows.size(1));
}

bool is_zero_row(const torch::Tensor& rows, std::int64_t i) {
  const auto all_zero = [&](const auto* row) {
    return std::all_of(row, row + rows.size(1), [](auto value) { return value == 0; });
  };
  return rows.scalar_type() == torch::kFloat64
             ? all_zero(rows.data_ptr<double>() + i * rows.size(1))
             : all_zero(rows.data_ptr<float>() + i * rows.size(1));
}

void scale_to_unit_rows_on_device(const Placement& placement, torch::Tensor& rows) {
  const auto wide = rows.to(torch::kFloat64);
  // Where the squared length over- or underflows, that of the row divided by its largest number.
  const auto largest = wide.abs().amax(1, /*keepdim=*/true);
  const auto scaled = wide / torch::where(largest > 0, largest, torch::ones_like(largest));
  const auto length = scaled.square().sum(1, /*keepdim=*/true).sqrt();
  rows.copy_(scaled / torch::where(length > 0, length, torch::ones_like(length)));
  if (!placement.to_host(largest.isfinite().all(), "checks").item<bool>()) {
    throw NumericalError(kNotFinite);
  }
}

torch::Tensor zero_rows_on_device(const torch::Tensor& rows, const torch::Tensor& residuals) {
  return (residuals == 1).logical_and_((rows == 0).all(1));
}

UnitRows::UnitRows(const RowProvider& rows, double constant)
    : RowProvider(rows.rows(), rows.features() + (constant != 0 ? 1 : 0)),
      rows_(rows),
      constant_(constant) {}

UnitRows::UnitRows(const RowProvider& rows, double constant, const Placement& placement)
    : UnitRows(rows, constant) {
  if (placement.on_device()) {
    device_ = placement;
  }
}

torch::Tensor UnitRows::read(RowRange range, torch::ScalarType type) const {
  return unit(rows_.read(range, type));
}

torch::Tensor UnitRows::read_at(const std::vector<std::int64_t>& positions,
                                torch::ScalarType type) const {
  return unit(rows_.read_at(positions, type));
}

torch::Tensor UnitRows::unit(const torch::Tensor& rows) const {
  auto result = torch::empty({rows.size(0), features()}, rows.options());
  result.narrow(1, 0, rows_.features()).copy_(rows);
  if (constant_ != 0) {
    result.select(1, rows_.features()).fill_(constant_);
  }
  if (device_) {
    scale_to_unit_rows_on_device(*device_, result);
  } else {
    scale_to_unit_rows(result);
  }
  return result;
}

}  // namespace eigenscale
