#include "eigenscale/data/row_provider.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "eigenscale/data/samples.h"

namespace eigenscale {
namespace {

std::int64_t numbers_of(c10::IntArrayRef row_shape) {
  return std::accumulate(row_shape.begin(), row_shape.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace

torch::Tensor RowProvider::read_at(const std::vector<std::int64_t>& positions,
                                   torch::ScalarType type) const {
  const auto count = static_cast<std::int64_t>(positions.size());
  auto result = torch::empty({count, features_}, type);
  for (std::int64_t first = 0; first < count;) {
    std::int64_t next = first + 1;
    while (next < count && positions[next] == positions[next - 1] + 1) {
      ++next;
    }
    result.narrow(0, first, next - first)
        .copy_(read({positions[first], positions[next - 1] + 1}, type));
    first = next;
  }
  return result;
}

FileRows::FileRows(const SampleSource& source, RowRange own, double scale)
    : RowProvider(own.size(), numbers_of(source.row_shape())),
      source_(source),
      own_(own),
      scale_(scale) {}

torch::Tensor FileRows::read(RowRange range, torch::ScalarType type) const {
  auto& finite = type == torch::kFloat64 ? finite_as_double_ : finite_as_float_;
  const auto rows = read_samples(source_, {own_.begin + range.begin, own_.begin + range.end}, type,
                                 scale_, source_.notices_writes() && range.end <= finite);
  if (range.begin <= finite) {
    finite = std::max(finite, range.end);
  }
  return rows.view({range.size(), features()});
}

MemoryRows::MemoryRows(const torch::Tensor& rows)
    : RowProvider(rows.size(0), numbers_of(rows.sizes().slice(1))),
      values_(rows.reshape({rows.size(0), features()})) {}

MemoryRows::MemoryRows(const torch::Tensor& rows, const Placement& placement) : MemoryRows(rows) {
  placement_ = placement;
}

torch::Tensor MemoryRows::read(RowRange range, torch::ScalarType type) const {
  return values_.narrow(0, range.begin, range.size()).to(type);
}

torch::Tensor MemoryRows::read_at(const std::vector<std::int64_t>& positions,
                                  torch::ScalarType type) const {
  const auto numbers = torch::tensor(positions, torch::kInt64);
  return values_
      .index_select(0, placement_ ? placement_->to_device(numbers, "row numbers") : numbers)
      .to(type);
}

}  // namespace eigenscale
