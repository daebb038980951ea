#include "eigenscale/data/labelled_samples.h"

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/labels.h"
#include "eigenscale/data/sample_source.h"
#include "eigenscale/data/samples.h"

namespace eigenscale {

LabelledSamples load_labelled_samples(const Communicator& communicator,
                                      const std::vector<std::string>& data,
                                      const std::vector<std::string>& labels) {
  const auto label_source = open_sample_sources(communicator, labels);
  const auto source = open_sample_sources(communicator, data);
  on_all_ranks(communicator, [&] { require_vectors(source->row_shape(), source->name()); });
  torch::ScalarType type = torch::kFloat32;
  if (source->scalar_type() == torch::kUInt8 || source->scalar_type() == torch::kFloat64) {
    type = source->scalar_type();
  }
  auto samples = load_samples(communicator, data, type);
  auto classes =
      read_labels(communicator, *label_source, samples.partition, LabelRule::kNotNegative);
  return {samples.partition, samples.rows,   classes,
          samples.shape,     source->name(), label_source->name()};
}

LabelledSamples load_labelled_samples(const Communicator& communicator, const std::string& data,
                                      const std::string& labels) {
  return load_labelled_samples(communicator, std::vector{data}, std::vector{labels});
}

std::int64_t largest_label(const Communicator& communicator, const LabelledSamples& samples) {
  return all_reduce(
      communicator,
      samples.labels.numel() > 0 ? samples.labels.max().item<std::int64_t>() : std::int64_t{0},
      ReduceOp::kMax);
}

void require_labels_below(const Communicator& communicator, const LabelledSamples& samples,
                          std::int64_t classes) {
  on_all_ranks(communicator, [&] {
    const auto bad = samples.labels >= classes;
    if (bad.any().item<bool>()) {
      const auto row = bad.nonzero()[0][0].item<std::int64_t>();
      throw InputError("'" + samples.labels_name + "' row " +
                       std::to_string(samples.partition.range(communicator.rank()).begin + row) +
                       " is label " + std::to_string(samples.labels[row].item<std::int64_t>()) +
                       ", but the network tells " + std::to_string(classes) +
                       " classes apart (0 to " + std::to_string(classes - 1) + ")");
    }
  });
}

}  // namespace eigenscale
