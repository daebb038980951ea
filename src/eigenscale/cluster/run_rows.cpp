#include "eigenscale/cluster/run_rows.h"

#include <algorithm>
#include <cmath>

#include "eigenscale/cluster/feature_whitening.h"
#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/leading_directions.h"
#include "eigenscale/cluster/memory_estimate.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/row_stream.h"

namespace eigenscale {
namespace {

// Unit rows of a rank that stay in memory, and are read again from the file in every pass beyond.
// So many always, and a share of the memory where making a row takes longer than a pass of
// refinement over it: wide rows, mapped and encoded ones.
constexpr std::int64_t kHeldBytes = std::int64_t{128} << 20;
constexpr double kHeldShare = 0.125;
constexpr std::int64_t kDearFeatures = 64;
// On a device rows are dear to bring there; its memory is not asked for.
constexpr std::int64_t kHeldOnDevice = std::int64_t{4} << 30;

}  // namespace

RunRows::RunRows(const Placement& placement, const ClusteringRunOptions& options)
    : placement_(placement),
      world_(placement.control()),
      options_(options),
      type_(options.clustering.precision),
      source_(open_sample_sources(world_, options.data)),
      partition_(source_->rows(), world_.size()),
      sample_shape_(source_->row_shape()),
      raw_(std::make_unique<FileRows>(*source_, partition_.range(world_.rank()), options.scale)),
      placed_(std::make_unique<CarriedRows>(CarriedRows::To::kDevice, *raw_, placement)) {
  on_all_ranks(world_, [&] {
    const std::int64_t clusters = options_.clustering.clusters;
    if (clusters > partition_.rows()) {
      throw InputError("--clusters is " + std::to_string(clusters) + " but '" +
                       options_.data_name() + "' has " + std::to_string(partition_.rows()) +
                       " samples");
    }
    if (raw_->features() < 1) {
      throw InputError("'" + options_.data_name() + "' has samples without elements");
    }
  });
}

torch::Tensor RunRows::hold(const RowProvider& rows, const Placement& placement) const {
  auto held = torch::empty({rows.rows(), rows.features()}, placement.options(type_));
  RowStream(world_, rows, {.type = type_}).for_each_piece([&](const RowPiece& piece) {
    held.narrow(0, piece.range.begin, piece.range.size()).copy_(piece.rows);
  });
  return held;
}

/// Root mean square of the lengths of a fixed sample of the rows' features.
double RunRows::typical_length() const {
  const auto sample = draw_rows(partition_.rows(), std::min<std::int64_t>(10000, partition_.rows()),
                                options_.clustering.seed, "lengths");
  double sum = 0;
  on_all_ranks(world_, [&] {
    const auto own =
        features_->read_at(own_positions(partition_.range(world_.rank()), sample), torch::kFloat64);
    sum = placement_.to_host(own.square().sum(), "checks").item<double>();
  });
  return std::sqrt(all_reduce(world_, sum) / static_cast<double>(sample.size()));
}

double RunRows::whitening_share(const SubspaceModel& model) const {
  const std::int64_t clusters = options_.clustering.clusters;
  const std::int64_t landmarks =
      options_.landmarks > 0 ? options_.landmarks : default_landmarks(partition_.rows(), clusters);
  const bool made = model.encoder || model.directions.defined();
  const bool whitens =
      made && features_->features() <= kMostWhitened && landmarks >= kLandmarksOfCluster * clusters;
  return options_.whiten_features.value_or(whitens ? kFeatureWhitening : 0);
}

void RunRows::make_unit_rows(SubspaceModel& model) {
  features_ = std::make_unique<FeatureRows>(*placed_, partition_.range(world_.rank()).begin, model,
                                            placement_);
  whitening_ = whitening_share(model);
  if (whitening_ > 0 && !model.whitening.defined()) {
    require_memory(world_, memory_for_whitening(features_->features()));
    model.whitening = feature_whitening(
        leading_directions(world_, partition_,
                           CarriedRows(CarriedRows::To::kHost, *features_, placement_),
                           features_->features(), options_.clustering.seed),
        whitening_);
  }
  if (options_.affine && model.constant == 0) {
    model.constant = typical_length();
  }
  streamed_ = std::make_unique<UnitRows>(*features_, model.constant, placement_);
  const std::int64_t bytes = partition_.block() * streamed_->features() *
                             static_cast<std::int64_t>(torch::elementSize(type_));
  const bool dear = raw_->features() >= kDearFeatures || model.curves.defined();
  const double spare = dear ? available_memory_per_rank(world_) * kHeldShare : 0;
  held_ =
      bytes <= (placement_.on_device() ? kHeldOnDevice
                                       : std::max(kHeldBytes, static_cast<std::int64_t>(spare)));
  unit_ = streamed_.get();
  if (held_) {
    in_memory_ = std::make_unique<MemoryRows>(hold(*streamed_, placement_), placement_);
    unit_ = in_memory_.get();
  }
  if (placement_.on_device()) {
    unit_on_host_ = std::make_unique<CarriedRows>(CarriedRows::To::kHost, *unit_, placement_);
  }
  require_room(unit_->features());
}

std::int64_t RunRows::bytes_of_rank() const {
  return partition_.block() *
         (12 + (held_ ? unit_->features() * static_cast<std::int64_t>(torch::elementSize(type_))
                      : std::int64_t{0}));
}

void RunRows::require_room(std::int64_t features) const {
  const auto dimension = options_.overrides.subspace_dim;
  if (dimension && *dimension >= features) {
    throw Error(ExitCode::kInput,
                "--subspace-dim is " + std::to_string(*dimension) + " but the rows of '" +
                    options_.data_name() + "' have " + std::to_string(features) +
                    " features; subspaces must have fewer",
                true);
  }
  if (features < 2) {
    throw Error(ExitCode::kInput,
                "the rows of '" + options_.data_name() +
                    "' are single numbers: there are no subspaces in one dimension",
                true);
  }
}

}  // namespace eigenscale
