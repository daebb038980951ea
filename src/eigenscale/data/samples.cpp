#include "eigenscale/data/samples.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <sstream>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/thread_team.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

// All bits of the exponent are set in a value that is not finite. One pass without temporaries:
// isfinite makes four.
template <typename Float, typename Bits, Bits exponent>
bool finite(const torch::Tensor& rows) {
  constexpr Bits one = exponent & (~exponent + 1);  // of the exponent
  constexpr std::int64_t kPart = std::int64_t{1} << 21;
  const auto* value = rows.data_ptr<Float>();
  const std::int64_t count = rows.numel();
  std::atomic<Bits> all = 0;
  in_team((count + kPart - 1) / kPart, [&](std::int64_t part) {
    // An exponent of ones carries into the sign's place; without comparisons this becomes vectors.
    Bits found = 0;
    for (std::int64_t i = part * kPart; i < std::min(count, (part + 1) * kPart); ++i) {
      found |= (std::bit_cast<Bits>(value[i]) & exponent) + one;
    }
    all |= found;
  });
  return (all & (exponent + one)) == 0;
}

bool all_finite(const torch::Tensor& rows) {
  if (!rows.is_floating_point()) {
    return true;
  }
  return rows.scalar_type() == torch::kFloat64
             ? finite<double, std::uint64_t, 0x7ff0000000000000U>(rows)
             : finite<float, std::uint32_t, 0x7f800000U>(rows);
}

// "row 7, element (3, 4)" of the first value in `rows` that is not finite.
void require_finite(const torch::Tensor& rows, const torch::Tensor& source_rows,
                    std::int64_t first_row, const SampleSource& source) {
  if (all_finite(rows)) {
    return;
  }
  const auto bad = rows.isfinite().logical_not_();
  const auto place = bad.nonzero()[0];
  torch::Tensor before = source_rows;
  torch::Tensor after = rows;
  std::ostringstream message;
  const auto [file, row] = source.place(first_row + place[0].item<std::int64_t>());
  message << "'" << file << "' row " << row;
  for (std::int64_t dimension = 0; dimension < place.size(0); ++dimension) {
    const auto index = place[dimension].item<std::int64_t>();
    if (dimension > 0) {
      message << (dimension == 1 ? ", element (" : ", ") << index;
    }
    before = before[index];
    after = after[index];
  }
  const auto value = before.item<double>();
  message << (place.size(0) > 1 ? ") is " : " is ") << value;
  if (std::isfinite(value)) {
    message << ", which becomes " << after.item<double>() << " as "
            << torch::toString(rows.scalar_type());
  }
  message << "; all values must be finite";
  throw InputError(message.str());
}

}  // namespace

torch::Tensor read_samples(const SampleSource& source, RowRange range, torch::ScalarType type,
                           double scale, bool known_finite) {
  constexpr std::int64_t kChunkBytes = std::int64_t{16} << 20;
  if (type == source.scalar_type() && scale == 1) {
    auto rows = source.read_rows(range);
    if (!known_finite) {
      require_finite(rows, rows, range.begin, source);
    }
    return rows;
  }
  std::vector<std::int64_t> shape = {range.size()};
  shape.insert(shape.end(), source.row_shape().begin(), source.row_shape().end());
  const auto result = torch::empty(shape, type);
  const std::int64_t row_bytes =
      range.size() == 0 ? 0 : result.numel() / range.size() * torch::elementSize(type);
  const std::int64_t chunk =
      std::max<std::int64_t>(1, kChunkBytes / std::max<std::int64_t>(1, row_bytes));
  for (std::int64_t row = range.begin; row < range.end; row += chunk) {
    const RowRange part{row, std::min(range.end, row + chunk)};
    const auto from_file = source.read_rows(part);
    auto rows = result.narrow(0, row - range.begin, part.size());
    if (scale != 1) {
      // In double precision, so that the result is rounded once.
      rows.copy_(from_file.to(torch::kFloat64).mul_(scale));
    } else {
      rows.copy_(from_file);
    }
    if (!known_finite) {
      require_finite(rows, from_file, row, source);
    }
  }
  return result;
}

Samples load_samples(const Communicator& communicator, const std::string& specification,
                     torch::ScalarType type, double scale) {
  return load_samples(communicator, std::vector{specification}, type, scale);
}

Samples load_samples(const Communicator& communicator,
                     const std::vector<std::string>& specifications, torch::ScalarType type,
                     double scale) {
  const auto source = open_sample_sources(communicator, specifications);
  const RowPartition partition(source->rows(), communicator.size());
  torch::Tensor rows;
  on_all_ranks(communicator, [&] {
    if (source->rows() == 0) {
      throw InputError("'" + source->name() + "' has no samples");
    }
    if (std::ranges::find(source->row_shape(), 0) != source->row_shape().end()) {
      throw InputError("'" + source->name() + "' has samples without elements");
    }
    rows = read_samples(*source, partition.range(communicator.rank()), type, scale);
  });
  return {partition, rows, source->row_shape()};
}

void require_vectors(const std::vector<std::int64_t>& shape, const std::string& name) {
  if (shape.empty()) {
    throw InputError("'" + name +
                     "' has one dimension, so that a sample is a single number; expected are N x D "
                     "(N x 1 for samples of one number). Is this a list of labels?");
  }
}

}  // namespace eigenscale
