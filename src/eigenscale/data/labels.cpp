#include "eigenscale/data/labels.h"

#include <cstdint>
#include <sstream>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {
namespace {

torch::Tensor to_labels(const torch::Tensor& values, std::int64_t first_row,
                        const std::string& name) {
  torch::Tensor bad = values < 0;
  if (values.is_floating_point()) {
    // Above 2^53 a double no longer tells integers apart. Not-a-number is not equal to itself.
    bad = bad.logical_or(values.ne(values.floor())).logical_or(values > 0x1p53);
  }
  if (bad.any().item<bool>()) {
    const auto row = bad.nonzero()[0][0].item<std::int64_t>();
    std::ostringstream message;
    message << "'" << name << "' row " << first_row + row << " is " << values[row].item<double>()
            << "; a label must be an integer of 0 or more";
    throw InputError(message.str());
  }
  return values.to(torch::kInt64);
}

}  // namespace

torch::Tensor load_labels(const Communicator& communicator, const std::string& specification,
                          const RowPartition& partition) {
  const auto source = open_sample_source(communicator, specification);
  torch::Tensor labels;
  on_all_ranks(communicator, [&] {
    const auto& shape = source->row_shape();
    if (shape.size() > 1 || (shape.size() == 1 && shape.front() != 1)) {
      std::ostringstream message;
      message << "'" << specification << "' is not a list of labels: it has rows of shape "
              << c10::IntArrayRef(shape);
      throw InputError(message.str());
    }
    if (source->rows() != partition.rows()) {
      throw InputError("'" + specification + "' has " + std::to_string(source->rows()) +
                       " labels, the data have " + std::to_string(partition.rows()) + " samples");
    }
    const RowRange range = partition.range(communicator.rank());
    const auto values = source->read_rows(range).view({range.size()});
    labels = to_labels(values.scalar_type() == torch::kBool ? values.to(torch::kInt64) : values,
                       range.begin, specification);
  });
  return labels;
}

}  // namespace eigenscale
