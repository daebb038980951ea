#include "eigenscale/data/label_names.h"

#include <algorithm>
#include <unordered_map>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/labels.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kNoClass = -1;

/// The different labels of one rank, up to one more than may occur.
std::vector<std::int64_t> different(const torch::Tensor& labels) {
  std::unordered_map<std::int64_t, bool> seen;
  const auto* label = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < labels.numel() && std::ssize(seen) <= kMostLabelNames; ++i) {
    if (label[i] != kNoClass) {
      seen.emplace(label[i], true);
    }
  }
  std::vector<std::int64_t> result;
  for (const auto& [name, present] : seen) {
    result.push_back(name);
  }
  return result;
}

/// Those of all ranks, ascending.
std::vector<std::int64_t> merge(const Communicator& communicator,
                                const std::vector<std::int64_t>& own) {
  const auto count = torch::full({1}, std::ssize(own), torch::kInt64);
  const auto counts = torch::empty({communicator.size()}, torch::kInt64);
  communicator.all_gather(counts, count, Communicator::Counts(communicator.size(), 1));
  const auto* number = counts.data_ptr<std::int64_t>();
  const Communicator::Counts rows(number, number + communicator.size());
  const auto all = torch::empty({counts.sum().item<std::int64_t>()}, torch::kInt64);
  communicator.all_gather(all, torch::tensor(own, torch::kInt64), rows);
  const auto* first = all.data_ptr<std::int64_t>();
  std::vector<std::int64_t> names(first, first + all.numel());
  std::ranges::sort(names);
  const auto repeated = std::ranges::unique(names);
  names.erase(repeated.begin(), repeated.end());
  return names;
}

}  // namespace

LabelNames name_labels(const Communicator& communicator, const torch::Tensor& labels,
                       const std::string& source) {
  LabelNames result{torch::full_like(labels, kNoClass), merge(communicator, different(labels))};
  if (result.names.empty()) {
    throw Error(ExitCode::kInput,
                "'" + source + "' has no label but -1, which marks samples without a class",
                /*agreed=*/true);
  }
  if (std::ssize(result.names) > kMostLabelNames) {
    throw Error(ExitCode::kInput,
                "'" + source + "' has more than " + std::to_string(kMostLabelNames) +
                    " different labels (" + std::to_string(result.names[0]) + ", " +
                    std::to_string(result.names[1]) + ", ...); are these the classes?",
                /*agreed=*/true);
  }
  std::unordered_map<std::int64_t, std::int64_t> place;
  for (const std::int64_t name : result.names) {
    place.emplace(name, std::ssize(place));
  }
  const auto* label = labels.data_ptr<std::int64_t>();
  auto* index = result.indices.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    if (label[i] != kNoClass) {
      index[i] = place.at(label[i]);
    }
  }
  return result;
}

LabelNames load_label_names(const Communicator& communicator,
                            const std::vector<std::string>& specifications,
                            const RowPartition& partition) {
  const auto source = open_sample_sources(communicator, specifications);
  return name_labels(communicator,
                     read_labels(communicator, *source, partition, LabelRule::kAnyWholeNumber),
                     source->name());
}

}  // namespace eigenscale
