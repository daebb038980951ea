#include "eigenscale/cluster/curve_learning.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "eigenscale/cluster/curve_likelihood.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/subspace_sums.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/train/data_parallel_step.h"

namespace eigenscale {
namespace {

constexpr double kLearningRate = 0.02;
// Steps on the curves between two updates of the subspaces.
constexpr std::int64_t kStepsBetween = 5;
// Added to the mean squared distance: rows that lie in their subspaces have no largest likelihood.
constexpr double kFloor = 1e-6;
// A round that brings the landmarks' objective to more than this share of the last one's is the
// last.
constexpr double kWorthARound = 0.9;

/// The sample on all ranks, and the part of it that each works on.
class CurveLearning {
 public:
  CurveLearning(const Communicator& world, const RowPartition& partition, const RowProvider& rows,
                const ClusteringOptions& clustering)
      : world_(world),
        clusters_(clustering.clusters),
        sample_(whole_sample(world, partition, rows, clustering)),
        parts_(sample_.size(0), world.size()),
        curves_(sample_) {
    const auto own = parts_.range(world.rank());
    places_ = curves_.curves().places(sample_.narrow(0, own.begin, own.size()));
    counted_ = curves_.counted().narrow(1, own.begin, own.size());
  }

  CurveParameters& parameters() { return curves_; }
  FeatureCurves curves() const {
    const torch::NoGradGuard no_grad;
    auto result = curves_.curves();
    return result;
  }

  /// From the subspaces `bases`, K x D x s.
  void run_round(std::int64_t round, const torch::Tensor& bases, const CurveEvents& events) {
    bases_ = bases.to(torch::kFloat64);
    DataParallelStep optimiser(world_, curves_, {.adam = {.learning_rate = kLearningRate}});
    for (std::int64_t step = 1; step <= kCurveSteps; ++step) {
      const TraceSpan span("curve step");
      events.step(make_step(optimiser, round, step));
    }
  }

 private:
  static torch::Tensor whole_sample(const Communicator& world, const RowPartition& partition,
                                    const RowProvider& rows, const ClusteringOptions& clustering) {
    const auto indices = draw_rows(partition.rows(),
                                   std::min(most_curve_rows(clustering.clusters), partition.rows()),
                                   clustering.seed, "curves");
    return exchange_rows(world, partition, rows,
                         std::vector<std::vector<std::int64_t>>(world.size(), indices),
                         torch::kFloat64);
  }

  CurveStep make_step(DataParallelStep& optimiser, std::int64_t round, std::int64_t step) {
    optimiser.zero_gradients();
    const auto curves = curves_.curves();
    const auto mapped = curves.at(places_);
    const auto lengths = mapped.norm(2, 1, /*keepdim=*/true);
    const auto unit = mapped / torch::where(lengths > 0, lengths, torch::ones_like(lengths));
    if (step % kStepsBetween == 1) {
      move_subspaces(unit.detach());
    }
    const auto distance = distance_to_subspaces(unit, order_, begin_, bases_);
    const auto slopes = CurveParameters::log_slopes(curves, places_, counted_);
    const auto samples = static_cast<double>(sample_.size(0));
    const auto sums = torch::stack({distance.detach(), slopes.detach()});
    world_.all_reduce(sums);
    const CurveStep report =
        likelihood(sums[0].item<double>(), sums[1].item<double>(), round, step);
    // The gradient of this rank's part of -log likelihood.
    const double weight = static_cast<double>(bases_.size(1) - bases_.size(2)) / 2 /
                          (report.objective + kFloor) / samples;
    (distance * weight - slopes / samples).backward();
    optimiser.reduce();
    optimiser.update();
    return report;
  }

  CurveStep likelihood(double distance, double log_slopes, std::int64_t round,
                       std::int64_t step) const {
    const auto samples = static_cast<double>(sample_.size(0));
    CurveStep report{round, step, 0, std::max(0.0, distance) / samples};
    report.log_likelihood = static_cast<double>(bases_.size(2) - bases_.size(1)) / 2 *
                                std::log(report.objective + kFloor) +
                            log_slopes / samples;
    if (!std::isfinite(distance) || !std::isfinite(report.log_likelihood)) {
      throw Error(ExitCode::kNumerical,
                  "the likelihood of the curves is not finite at step " + std::to_string(step) +
                      " of round " + std::to_string(round) +
                      "; check the scale of the data (--scale)",
                  true);
    }
    return report;
  }

  /// One update, and the labels by the subspaces that come of it.
  void move_subspaces(const torch::Tensor& unit) {
    const MemoryRows rows(unit);
    const auto moved = refine_subspaces(world_, rows, bases_, {.most_passes = 2, .spectra = false});
    bases_ = moved.bases;
    const auto sorted = sort_labels(moved.labels, clusters_);
    order_ = sorted.order;
    begin_ = sorted.begin;
  }

  const Communicator& world_;
  std::int64_t clusters_;
  torch::Tensor sample_;
  RowPartition parts_;
  CurveParameters curves_;
  CurvePlaces places_;
  torch::Tensor counted_;
  torch::Tensor bases_;
  torch::Tensor order_;  // of this rank's part, by label
  torch::Tensor begin_;
};

}  // namespace

void require_few_features(std::int64_t features, const std::string& data) {
  if (features > kMostCurves) {
    throw Error(ExitCode::kInput,
                "--encoder curves learns a curve for each feature, of at most " +
                    std::to_string(kMostCurves) + ", but the rows of '" + data + "' have " +
                    std::to_string(features),
                true);
  }
}

FeatureCurves learn_feature_curves(const Communicator& world, const RowPartition& partition,
                                   const RowProvider& rows, const ClusteringOptions& clustering,
                                   const LandmarkOptions& options, CurveProgress from,
                                   const CurveEvents& events) {
  CurveLearning learning(world, partition, rows, clustering);
  if (from.parameters.defined()) {
    const torch::NoGradGuard no_grad;
    learning.parameters().parameters().front().copy_(from.parameters);
  }
  from.curves = learning.curves();
  while (!from.done) {
    SubspaceModel model;
    model.curves = from.curves;
    const FeatureRows features(rows, partition.range(world.rank()).begin, model);
    const auto landmarks = cluster_landmarks(
        world, partition, UnitRows(features), clustering, options, {},
        {.phase = [](const std::string&) {}, .starts = [](const StartLabels&) {}});
    const double objective = landmarks.candidates[landmarks.best].objective;
    from.done = from.rounds > 0 && landmarks.dimension == from.dimension &&
                objective > kWorthARound * from.objective;
    if (!from.done) {
      ++from.rounds;
      learning.run_round(from.rounds, landmarks.bases, events);
      from.parameters = learning.parameters().parameters().front().detach().clone();
      from.curves = learning.curves();
      from.objective = objective;
      from.dimension = landmarks.dimension;
      from.done = from.rounds == kCurveRounds;
    }
    events.round(from);
  }
  return from.curves;
}

}  // namespace eigenscale
