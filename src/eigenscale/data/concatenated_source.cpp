#include "eigenscale/data/concatenated_source.h"

#include <algorithm>
#include <sstream>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

SampleDescription describe(const std::vector<std::unique_ptr<SampleSource>>& parts) {
  SampleDescription all{parts.front()->name(), 0, parts.front()->row_shape(),
                        parts.front()->scalar_type()};
  for (const auto& part : parts) {
    if (part->row_shape() != all.row_shape) {
      std::ostringstream message;
      message << "'" << part->name() << "' has rows of shape "
              << c10::IntArrayRef(part->row_shape()) << ", but '" << parts.front()->name()
              << "' has rows of shape " << c10::IntArrayRef(all.row_shape)
              << "; files that are read one behind the other must have equal rows";
      throw InputError(message.str());
    }
    all.rows += part->rows();
    all.scalar_type = common_type(all.scalar_type, part->scalar_type());
    if (part != parts.front()) {
      all.name += ", " + part->name();
    }
  }
  return all;
}

}  // namespace

torch::ScalarType common_type(torch::ScalarType a, torch::ScalarType b) {
  const bool a_floats = torch::isFloatingType(a);
  if (a_floats == torch::isFloatingType(b)) {
    return torch::promoteTypes(a, b);
  }
  const auto floating = a_floats ? a : b;
  const auto whole_bytes = torch::elementSize(a_floats ? b : a);
  return whole_bytes == 1   ? floating
         : whole_bytes == 2 ? torch::promoteTypes(floating, torch::kFloat32)
                            : torch::kFloat64;
}

ConcatenatedSource::ConcatenatedSource(std::vector<std::unique_ptr<SampleSource>> parts)
    : SampleSource(describe(parts)), parts_(std::move(parts)) {
  std::int64_t first = 0;
  for (const auto& part : parts_) {
    first_rows_.push_back(first);
    first += part->rows();
  }
}

// The last part that begins at or before the row: parts without rows are passed over.
std::size_t ConcatenatedSource::part_of(std::int64_t row) const {
  return std::ranges::upper_bound(first_rows_, row) - first_rows_.begin() - 1;
}

torch::Tensor ConcatenatedSource::read_rows(RowRange range) const {
  auto result = torch::empty(shape_of(range.size()), scalar_type());
  for (std::int64_t row = range.begin; row < range.end;) {
    const std::size_t index = part_of(row);
    const SampleSource& part = *parts_[index];
    const std::int64_t begin = row - first_rows_[index];
    const std::int64_t count = std::min(part.rows() - begin, range.end - row);
    const auto rows = part.read_rows({begin, begin + count});
    if (count == range.size()) {
      return rows.to(scalar_type());
    }
    result.narrow(0, row - range.begin, count).copy_(rows);
    row += count;
  }
  return result;
}

bool ConcatenatedSource::reads_beside_others() const {
  return std::ranges::all_of(parts_, [](const auto& part) { return part->reads_beside_others(); });
}

bool ConcatenatedSource::notices_writes() const {
  return std::ranges::all_of(parts_, [](const auto& part) { return part->notices_writes(); });
}

std::pair<std::string, std::int64_t> ConcatenatedSource::place(std::int64_t row) const {
  const std::size_t index = part_of(row);
  return parts_[index]->place(row - first_rows_[index]);
}

}  // namespace eigenscale
