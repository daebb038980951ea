#include "eigenscale/data/labels.h"

#include <cstdint>
#include <sstream>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

torch::Tensor to_labels(torch::Tensor values, std::int64_t first_row, const SampleSource& source,
                        LabelRule rule) {
  const bool negative = rule == LabelRule::kAnyWholeNumber;
  torch::Tensor bad;
  if (values.is_floating_point()) {
    values = values.to(torch::kFloat64);
    // Above 2^53 a double no longer tells integers apart. Not-a-number is not equal to itself.
    bad = values.ne(values.floor()).logical_or(values.abs() > 0x1p53);
  } else {
    values = values.to(torch::kInt64);
    bad = torch::zeros_like(values, torch::kBool);
  }
  if (!negative) {
    bad = bad.logical_or(values < 0);
  }
  if (bad.any().item<bool>()) {
    const auto row = bad.nonzero()[0][0].item<std::int64_t>();
    const auto [file, file_row] = source.place(first_row + row);
    std::ostringstream message;
    message << "'" << file << "' row " << file_row << " is " << values[row].item<double>()
            << "; a label must be an integer" << (negative ? "" : " of 0 or more");
    throw InputError(message.str());
  }
  return values.to(torch::kInt64);
}

}  // namespace

torch::Tensor read_labels(const Communicator& communicator, const SampleSource& source,
                          const RowPartition& partition, LabelRule rule) {
  torch::Tensor labels;
  on_all_ranks(communicator, [&] {
    const auto& shape = source.row_shape();
    if (shape.size() > 1 || (shape.size() == 1 && shape.front() != 1)) {
      std::ostringstream message;
      message << "'" << source.name() << "' is not a list of labels: it has rows of shape "
              << c10::IntArrayRef(shape);
      throw InputError(message.str());
    }
    if (source.rows() != partition.rows()) {
      throw InputError("'" + source.name() + "' has " + std::to_string(source.rows()) +
                       " labels, the data have " + std::to_string(partition.rows()) + " samples");
    }
    const RowRange range = partition.range(communicator.rank());
    labels = to_labels(source.read_rows(range).view({range.size()}), range.begin, source, rule);
  });
  return labels;
}

torch::Tensor load_labels(const Communicator& communicator,
                          const std::vector<std::string>& specifications,
                          const RowPartition& partition) {
  return read_labels(communicator, *open_sample_sources(communicator, specifications), partition,
                     LabelRule::kNotNegative);
}

torch::Tensor load_labels(const Communicator& communicator, const std::string& specification,
                          const RowPartition& partition) {
  return load_labels(communicator, std::vector{specification}, partition);
}

}  // namespace eigenscale
