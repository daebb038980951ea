#include "eigenscale/cluster/landmark_clustering.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/memory_estimate.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/comm/agreement.h"
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

/// The landmarks of one draw that this group of ranks solves, and what it found.
struct Draw {
  std::int64_t number = 0;
  torch::Tensor rows;    // own rows of the group's partition
  torch::Tensor labels;  // of these
};

std::int64_t count_distinct(const torch::Tensor& rows) {
  return rows.size(0) == 0 ? 0 : std::get<0>(torch::unique_dim(rows, 0)).size(0);
}

/// The dimension that most draws chose, the smaller among equals; the default when none did.
std::int64_t agree_on_dimension(const std::vector<DimensionChoice>& choices,
                                std::int64_t features) {
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
    return std::min(kDefaultDimension, features - 1);
  }
  return std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
}

class LandmarkClustering {
 public:
  LandmarkClustering(const Communicator& world, const RowPartition& partition,
                     const RowProvider& rows, const ClusteringOptions& clustering,
                     const LandmarkOptions& options)
      : world_(world),
        partition_(partition),
        rows_(rows),
        clustering_(clustering),
        options_(options),
        alone_(options.landmarks <= kLandmarksOfARank) {
    clustering_.ablation = false;
    clustering_.autoencoder = {};
    clustering_.autoencoder.features = rows.features();
    if (alone_) {
      own_group_ = world.split(world.rank(), 0);
      clustering_.grid_rows = clustering_.grid_columns = 1;
    }
    on_every_rank([&] {
      require_memory_for_coefficients(group(), options.landmarks, clustering_.closed_form,
                                      clustering_.precision);
    });
    result_.dimension = options.dimension;
  }

  LandmarkModel run(const std::function<void(const std::string& phase)>& on_phase) {
    on_phase("landmarks");
    for (std::int64_t first = 0; first < options_.draws; first += draws_at_once()) {
      cluster_draws(first);
    }
    if (result_.dimension == 0) {
      on_phase("dimension");
      choose();
    }
    on_phase("landmark_subspaces");
    fit_candidates();
    compete();
    return std::move(result_);
  }

 private:
  const Communicator& group() const { return alone_ ? *own_group_ : world_; }
  /// [collective] Work of each group: errors of one that is a rank alone must reach the others.
  void on_every_rank(const std::function<void()>& work) const {
    if (alone_) {
      on_all_ranks(world_, work, ExitCode::kNumerical);
    } else {
      work();
    }
  }
  std::int64_t draws_at_once() const { return alone_ ? world_.size() : 1; }
  RowPartition group_partition() const { return {options_.landmarks, group().size()}; }

  /// Draws first, first + 1, ...: one for each rank, or one for all.
  void cluster_draws(std::int64_t first) {
    std::vector<std::vector<std::int64_t>> wanted(world_.size());
    for (int rank = 0; rank < world_.size(); ++rank) {
      const std::int64_t number = alone_ ? first + rank : first;
      if (number >= options_.draws) {
        continue;
      }
      wanted[rank] = draw_rows(partition_.rows(), options_.landmarks, clustering_.seed, "landmarks",
                               static_cast<std::uint32_t>(number));
      if (!alone_) {
        const auto range = group_partition().range(rank);
        wanted[rank] = {wanted[rank].begin() + range.begin, wanted[rank].begin() + range.end};
      }
    }
    auto landmarks = exchange_rows(world_, partition_, rows_, wanted, clustering_.precision);
    if (first == 0) {
      require_distinct(landmarks);
    }
    const std::int64_t number = alone_ ? first + world_.rank() : first;
    const auto solve = [&] {
      if (number >= options_.draws) {
        return;
      }
      const Samples samples{group_partition(), landmarks, {landmarks.size(1)}};
      auto found = cluster_samples(group(), samples, std::nullopt, clustering_, silent());
      draws_.push_back({number, landmarks, found.labels});
    };
    on_every_rank(solve);
  }

  void require_distinct(const torch::Tensor& landmarks) {
    // The first draw, whose rows the first rank has, or all ranks share: of their parts as many as
    // these have, never too few.
    const auto own = !alone_ || world_.rank() == 0 ? count_distinct(landmarks) : std::int64_t{0};
    const auto distinct = all_reduce(world_, own);
    result_.distinct_rows = distinct;
    if (distinct < clustering_.clusters) {
      throw Error(ExitCode::kInput,
                  "--clusters is " + std::to_string(clustering_.clusters) + " but the " +
                      std::to_string(options_.landmarks) + " landmarks are only " +
                      std::to_string(distinct) + " distinct points",
                  true);
    }
  }

  /// Every draw chooses, all take what most chose. The curves of all draws go to all ranks.
  void choose() {
    const std::int64_t features = rows_.features();
    const std::int64_t width = 2 + features;
    auto table = torch::zeros({options_.draws, width}, torch::kFloat64);
    const auto solve = [&] {
      for (const auto& draw : draws_) {
        const MemoryRows rows(draw.rows);
        const auto choice = choose_dimension(group(), rows, draw.labels, clustering_.clusters,
                                             clustering_.precision);
        table[draw.number][0] = choice.dimension;
        table[draw.number][1] = std::ssize(choice.trials);
        for (std::int64_t i = 0; i < std::ssize(choice.trials); ++i) {
          table[draw.number][2 + i] = choice.trials[i].rest;
        }
      }
    };
    on_every_rank(solve);
    if (alone_) {
      world_.all_reduce(table);
    }
    for (std::int64_t draw = 0; draw < options_.draws; ++draw) {
      DimensionChoice choice{table[draw][0].item<std::int64_t>(), {}};
      for (std::int64_t i = 0; i < table[draw][1].item<std::int64_t>(); ++i) {
        choice.trials.push_back({i, table[draw][2 + i].item<double>()});
      }
      result_.dimension_choices.push_back(choice);
    }
    result_.dimension = agree_on_dimension(result_.dimension_choices, features);
  }

  /// Of every draw the bases as labelled, refined, and refined from a random start.
  void fit_candidates() {
    const std::int64_t clusters = clustering_.clusters;
    const auto type = clustering_.precision;
    bases_ =
        torch::zeros({3 * options_.draws, clusters, rows_.features(), result_.dimension}, type);
    const auto solve = [&] {
      for (const auto& draw : draws_) {
        const MemoryRows rows(draw.rows);
        const auto fitted =
            fit_subspaces(group(), rows, draw.labels, clusters, result_.dimension, type);
        const auto random =
            random_bases(clusters, rows_.features(), result_.dimension,
                         clustering_.seed + static_cast<std::uint64_t>(draw.number), type);
        bases_[3 * draw.number].copy_(fitted);
        bases_[3 * draw.number + 1].copy_(
            refine_subspaces(group(), rows, fitted, {.spectra = false}).bases);
        bases_[3 * draw.number + 2].copy_(
            refine_subspaces(group(), rows, random, {.most_passes = 30, .spectra = false}).bases);
      }
    };
    on_every_rank(solve);
    if (alone_) {
      world_.all_reduce(bases_);  // one owner each and zeros elsewhere
    }
  }

  void compete() {
    result_.sample = std::min(kSample, partition_.rows());
    const auto sample =
        draw_rows(partition_.rows(), result_.sample, clustering_.seed, "common sample");
    const auto objectives = sample_objectives(world_, partition_, rows_, sample, bases_);
    // Differences that rounding makes decide nothing: the first draw wins then.
    std::int64_t best_found = 1;
    for (std::int64_t i = 0; i < std::ssize(objectives); ++i) {
      const std::string draw = "draw " + std::to_string(i / 3 + 1);
      if (i % 3 == 0) {
        continue;
      }
      result_.candidates.push_back(
          {draw + (i % 3 == 1 ? ", self-expression" : ", random start"), objectives[i]});
      if (i % 3 == 1 && objectives[i] < objectives[best_found] * (1 - 1e-5) - 4e-7) {
        best_found = i;
      }
    }
    std::int64_t best = best_found;
    for (std::int64_t i = 2; i < std::ssize(objectives); i += 3) {
      if (objectives[i] < objectives[best] * (1 - 1e-3) - 4e-7) {
        best = i;
      }
    }
    result_.best = best / 3 * 2 + best % 3 - 1;
    result_.bases = bases_[best].clone();
    result_.unrefined_bases = bases_[best_found - 1].clone();
  }

  const Communicator& world_;
  RowPartition partition_;
  const RowProvider& rows_;
  ClusteringOptions clustering_;
  LandmarkOptions options_;
  bool alone_;
  std::unique_ptr<Communicator> own_group_;
  std::vector<Draw> draws_;
  torch::Tensor bases_;
  LandmarkModel result_;
};

}  // namespace

std::int64_t default_landmarks(std::int64_t samples, std::int64_t clusters) {
  return std::min(samples, std::max<std::int64_t>(2000, 40 * clusters));
}

std::int64_t landmark_bytes(std::int64_t landmarks, int ranks) {
  // docs/clustering.md: the spectral phase needs at most 64 bytes a coefficient.
  return 64 * landmarks * landmarks / (landmarks <= kLandmarksOfARank ? 1 : ranks);
}

LandmarkModel cluster_landmarks(const Communicator& world, const RowPartition& partition,
                                const RowProvider& rows, const ClusteringOptions& clustering,
                                const LandmarkOptions& options,
                                const std::function<void(const std::string& phase)>& on_phase) {
  return LandmarkClustering(world, partition, rows, clustering, options).run(on_phase);
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
