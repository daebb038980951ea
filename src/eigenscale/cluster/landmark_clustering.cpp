#include "eigenscale/cluster/landmark_clustering.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "eigenscale/cluster/distinct_rows.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/memory_estimate.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kSample = 10000;

ClusteringEvents silent() {
  return {.phase = [](const std::string&) {},
          .epoch = [](const EpochReport&) { return true; },
          .step = [](const FineTuningStep&) { return true; },
          .pretrained = [](Autoencoder&) {}};
}

/// Labels of the landmarks of one draw, found by this group of ranks. Start 2 r is that of draw r
/// by self-expression, start 2 r + 1 that by cosines.
struct Start {
  std::int64_t number = 0;
  torch::Tensor rows;    // own rows of the group's partition
  torch::Tensor labels;  // of these

  bool by_cosines() const { return number % 2 == 1; }
};

/// The dimension that most starts chose, the smaller among equals; 0 when most chose none.
std::int64_t agree_on_dimension(const std::vector<DimensionChoice>& choices) {
  std::map<std::int64_t, int> votes;
  std::int64_t without = 0;
  for (const auto& choice : choices) {
    if (choice.dimension > 0) {
      ++votes[choice.dimension];
    } else {
      ++without;
    }
  }
  if (2 * without > std::ssize(choices)) {
    return 0;
  }
  return std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
}

class LandmarkClustering {
 public:
  LandmarkClustering(const Communicator& world, const RowPartition& partition,
                     const RowProvider& rows, const ClusteringOptions& clustering,
                     const LandmarkOptions& options, const StartLabels& from)
      : world_(world),
        partition_(partition),
        rows_(rows),
        clustering_(clustering),
        options_(options),
        done_(from),
        alone_(options.landmarks <= kLandmarksOfARank && !options.labels.defined()) {
    clustering_.ablation = false;
    clustering_.autoencoder = {};
    clustering_.autoencoder.features = rows.features();
    if (alone_) {
      own_group_ = world.split(world.rank(), 0);
      clustering_.grid_rows = clustering_.grid_columns = 1;
    }
    result_.dimension = options.dimension;
    result_.distinct_rows = from.distinct_rows;
    if (from.starts == 0) {
      done_.labels = torch::zeros({starts(), options.landmarks}, torch::kInt64);
    }
  }

  LandmarkModel run(const LandmarkEvents& events) {
    events.phase("landmarks");
    for (std::int64_t first = 0; first < done_.starts; first += starts_at_once()) {
      take_starts(first, done_.starts);
    }
    while (done_.starts < starts()) {
      cluster_starts(done_.starts);
      events.starts(done_);
    }
    if (result_.dimension == 0) {
      events.phase("dimension");
      choose();
    }
    events.phase("landmark_subspaces");
    fit_candidates();
    compete();
    return std::move(result_);
  }

 private:
  const Communicator& group() const { return alone_ ? *own_group_ : world_; }
  /// [collective] Work of each group: errors of one that is a rank alone must reach the others.
  void on_every_rank(const std::function<void()>& work) const {
    if (alone_) {
      // Ranks that have no start, or an easier one, wait for the others: that is no hang.
      const auto cubed = std::pow(static_cast<double>(options_.landmarks), 3);
      constexpr double kOperationsPerSecond = 1e8;  // of a slow machine that others use too
      const WatchedCall watched("landmarks of other ranks", 0,
                                60 + 40 * cubed / kOperationsPerSecond);
      on_all_ranks(world_, work, ExitCode::kNumerical);
    } else {
      work();
    }
  }
  std::int64_t starts() const { return 2 * options_.draws; }
  std::int64_t starts_at_once() const { return alone_ ? world_.size() : 1; }
  RowPartition group_partition() const { return {options_.landmarks, group().size()}; }

  /// This rank's start of first, first + 1, ...: one for each rank, or one for all.
  std::int64_t own_start(std::int64_t first) const {
    return alone_ ? first + world_.rank() : first;
  }

  /// This rank's part of the labels of a start.
  torch::Tensor own_labels(std::int64_t start) const {
    const auto range = group_partition().range(group().rank());
    return done_.labels[start].narrow(0, range.begin, range.size());
  }

  /// The landmarks of the starts from `first`, below `end`, each to the ranks that solve it.
  torch::Tensor fetch_starts(std::int64_t first, std::int64_t end) const {
    std::vector<std::vector<std::int64_t>> wanted(world_.size());
    for (int rank = 0; rank < world_.size(); ++rank) {
      const std::int64_t number = alone_ ? first + rank : first;
      if (number >= end) {
        continue;
      }
      wanted[rank] =
          draw_landmarks(partition_.rows(), options_.landmarks, clustering_.seed, number / 2);
      if (!alone_) {
        const auto range = group_partition().range(rank);
        wanted[rank] = {wanted[rank].begin() + range.begin, wanted[rank].begin() + range.end};
      }
    }
    return exchange_rows(world_, partition_, rows_, wanted, clustering_.precision);
  }

  /// Those that have been clustered before.
  void take_starts(std::int64_t first, std::int64_t end) {
    const auto landmarks = fetch_starts(first, end);
    if (const auto number = own_start(first); number < end) {
      starts_.push_back({number, landmarks, own_labels(number)});
    }
  }

  void cluster_starts(std::int64_t first) {
    const auto landmarks = fetch_starts(first, starts());
    if (first == 0) {
      require_distinct(landmarks);
    }
    const std::int64_t number = own_start(first);
    const auto solve = [&] {
      if (number >= starts()) {
        return;
      }
      Start start{number, landmarks, {}};
      if (options_.labels.defined() && !start.by_cosines()) {
        start.labels = options_.labels;
        own_labels(number).copy_(start.labels);
        starts_.push_back(std::move(start));
        return;
      }
      auto clustering = clustering_;
      clustering.cosines = start.by_cosines();
      const Samples samples{group_partition(), landmarks, {landmarks.size(1)}};
      start.labels = cluster_samples(group(), samples, std::nullopt, clustering, silent()).labels;
      own_labels(number).copy_(start.labels);
      starts_.push_back(std::move(start));
    };
    on_every_rank(solve);
    const std::int64_t end = std::min(first + starts_at_once(), starts());
    // One owner each and zeros elsewhere; m numbers are nothing beside the coefficients.
    auto labels = done_.labels.narrow(0, first, end - first);
    world_.all_reduce(labels);
    done_.starts = end;
  }

  void require_distinct(const torch::Tensor& landmarks) {
    // The first draw, whose rows the first rank has, or all ranks share: of their parts as many as
    // these have, never too few.
    const auto own = !alone_ || world_.rank() == 0
                         ? std::int64_t{std::ssize(distinct_rows(landmarks, landmarks.size(0)))}
                         : std::int64_t{0};
    const auto distinct = all_reduce(world_, own);
    result_.distinct_rows = done_.distinct_rows = distinct;
    if (distinct < clustering_.clusters) {
      throw Error(ExitCode::kInput,
                  "--clusters is " + std::to_string(clustering_.clusters) + " but the " +
                      std::to_string(options_.landmarks) + " landmarks are only " +
                      std::to_string(distinct) + " distinct points",
                  true);
    }
  }

  /// Every start chooses, all take what most chose. The curves of all go to all ranks.
  void choose() {
    const std::int64_t features = rows_.features();
    const std::int64_t width = 2 + features;
    auto table = torch::zeros({starts(), width}, torch::kFloat64);
    const auto solve = [&] {
      for (const auto& start : starts_) {
        const MemoryRows rows(start.rows);
        const auto choice = choose_dimension(group(), rows, start.labels, clustering_.clusters,
                                             clustering_.precision);
        table[start.number][0] = choice.dimension;
        table[start.number][1] = std::ssize(choice.trials);
        for (std::int64_t i = 0; i < std::ssize(choice.trials); ++i) {
          table[start.number][2 + i] = choice.trials[i].rest;
        }
      }
    };
    on_every_rank(solve);
    if (alone_) {
      world_.all_reduce(table);
    }
    for (std::int64_t start = 0; start < starts(); ++start) {
      DimensionChoice choice{table[start][0].item<std::int64_t>(), {}};
      for (std::int64_t i = 0; i < table[start][1].item<std::int64_t>(); ++i) {
        choice.trials.push_back({i, table[start][2 + i].item<double>()});
      }
      result_.dimension_choices.push_back(choice);
    }
    result_.dimension = agree_on_dimension(result_.dimension_choices);
    if (result_.dimension == 0) {
      result_.dimension_stands_out = false;
      result_.dimension = std::min(kDefaultDimension, features - 1);
    }
  }

  /// Of every start the bases as labelled and refined; of every draw those refined from a random
  /// start.
  void fit_candidates() {
    const std::int64_t clusters = clustering_.clusters;
    const auto type = clustering_.precision;
    const std::int64_t features = rows_.features();
    const std::int64_t dimension = result_.dimension;
    fitted_ = torch::zeros({starts(), clusters, features, dimension}, type);
    refined_ = torch::zeros({starts() + options_.draws, clusters, features, dimension}, type);
    const auto solve = [&] {
      for (const auto& start : starts_) {
        const MemoryRows rows(start.rows);
        const auto fitted = fit_subspaces(group(), rows, start.labels, clusters, dimension, type);
        fitted_[start.number].copy_(fitted);
        refined_[start.number].copy_(
            refine_subspaces(group(), rows, fitted, {.spectra = false}).bases);
        if (start.by_cosines()) {
          const std::int64_t draw = start.number / 2;
          const auto random =
              random_bases(clusters, features, dimension,
                           clustering_.seed + static_cast<std::uint64_t>(draw), type);
          refined_[starts() + draw].copy_(
              refine_subspaces(group(), rows, random, {.most_passes = 30, .spectra = false}).bases);
        }
      }
    };
    on_every_rank(solve);
    if (alone_) {
      world_.all_reduce(fitted_);  // one owner each and zeros elsewhere
      world_.all_reduce(refined_);
    }
  }

  std::string candidate_name(std::int64_t candidate) const {
    const bool random = candidate >= starts();
    const std::int64_t draw = random ? candidate - starts() : candidate / 2;
    return "draw " + std::to_string(draw + 1) +
           (random               ? ", random start"
            : candidate % 2 == 0 ? ", self-expression"
                                 : ", cosines");
  }

  void compete() {
    result_.sample = std::min(kSample, partition_.rows());
    const auto sample =
        draw_rows(partition_.rows(), result_.sample, clustering_.seed, "common sample");
    const auto objectives = sample_objectives(world_, partition_, rows_, sample, refined_);
    for (std::int64_t i = 0; i < std::ssize(objectives); ++i) {
      result_.candidates.push_back({candidate_name(i), objectives[i]});
    }
    // Differences that rounding makes decide nothing: the first start wins then.
    std::int64_t best_found = 0;
    for (std::int64_t i = 1; i < starts(); ++i) {
      if (objectives[i] < objectives[best_found] * (1 - 1e-5) - 4e-7) {
        best_found = i;
      }
    }
    result_.best = best_found;
    for (std::int64_t i = starts(); i < std::ssize(objectives); ++i) {
      if (objectives[i] < objectives[result_.best] * (1 - 1e-3) - 4e-7) {
        result_.best = i;
      }
    }
    result_.bases = refined_[result_.best].clone();
    result_.unrefined_bases = fitted_[best_found].clone();
  }

  const Communicator& world_;
  RowPartition partition_;
  const RowProvider& rows_;
  ClusteringOptions clustering_;
  LandmarkOptions options_;
  StartLabels done_;
  bool alone_;
  std::unique_ptr<Communicator> own_group_;
  std::vector<Start> starts_;
  torch::Tensor fitted_;
  torch::Tensor refined_;
  LandmarkModel result_;
};

}  // namespace

std::int64_t default_landmarks(std::int64_t samples, std::int64_t clusters) {
  return std::min(samples, std::max<std::int64_t>(2000, kLandmarksOfCluster * clusters));
}

LandmarkModel cluster_landmarks(const Communicator& world, const RowPartition& partition,
                                const RowProvider& rows, const ClusteringOptions& clustering,
                                const LandmarkOptions& options, const StartLabels& from,
                                const LandmarkEvents& events) {
  return LandmarkClustering(world, partition, rows, clustering, options, from).run(events);
}

std::vector<double> sample_objectives(const Communicator& world, const RowPartition& partition,
                                      const RowProvider& rows,
                                      const std::vector<std::int64_t>& sample,
                                      const torch::Tensor& bases) {
  torch::Tensor own;
  on_all_ranks(world, [&] {
    own = rows.read_at(own_positions(partition.range(world.rank()), sample), bases.scalar_type());
  });
  auto sums = torch::zeros({bases.size(0)}, torch::kFloat64);
  const auto labels = torch::empty({own.size(0)}, torch::kInt64);
  const auto residuals = torch::empty({own.size(0)}, torch::kFloat32);
  for (std::int64_t i = 0; i < bases.size(0); ++i) {
    SubspaceAssigner(bases[i]).assign(own, 0, {labels, residuals});
    sums[i] = residuals.to(torch::kFloat64).sum();
  }
  world.all_reduce(sums);
  sums /= static_cast<double>(std::max<std::size_t>(1, sample.size()));
  return {sums.data_ptr<double>(), sums.data_ptr<double>() + sums.numel()};
}

}  // namespace eigenscale
