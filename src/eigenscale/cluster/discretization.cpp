#include "eigenscale/cluster/discretization.h"

#include <limits>
#include <utility>

#include "eigenscale/cluster/row_exchange.h"
#include "eigenscale/core/random.h"

namespace eigenscale {
namespace {

// Relative changes below this are rounding: sums over ranks in another order differ by 1e-16 N.
constexpr double kTraceTie = 1e-10;

/// K rows of the embedding that are as orthogonal to each other as a greedy choice finds, for each
/// start: the columns of the first rotations, starts x K x K.
torch::Tensor first_rotations(const Communicator& communicator, const RowPartition& partition,
                              const torch::Tensor& rows, const DiscretizationOptions& options) {
  const std::int64_t clusters = rows.size(1);
  const CounterRandom random(options.seed, "discretization");
  std::vector<std::int64_t> chosen(options.starts);
  for (std::int64_t start = 0; start < options.starts; ++start) {
    chosen[start] = static_cast<std::int64_t>(random.integer(partition.rows(), start));
  }
  auto rotations = torch::zeros({options.starts, clusters, clusters}, torch::kFloat64);
  auto overlap = torch::zeros({rows.size(0), options.starts}, torch::kFloat64);
  for (std::int64_t k = 0;; ++k) {
    const auto picked = fetch_rows(communicator, partition, rows, chosen);
    rotations.select(2, k).copy_(picked);
    if (k + 1 == clusters) {
      return rotations;
    }
    overlap += rows.matmul(picked.t()).abs();
    chosen = global_argmin(communicator, partition, overlap);
  }
}

/// The orthogonal matrices closest to turning rows into indicators: from M = sum of indicator^T
/// rows (starts x K x K), R = V U^T of M = U S V^T. Rank 0 decomposes so that all ranks agree.
torch::Tensor next_rotations(const Communicator& communicator, const torch::Tensor& moments,
                             torch::Tensor& traces) {
  auto rotations = torch::empty_like(moments);
  if (communicator.rank() == 0) {
    const auto [u, s, vh] = torch::linalg_svd(moments, false);
    rotations = torch::matmul(vh.transpose(1, 2), u.transpose(1, 2)).contiguous();
    traces = s.sum(1).contiguous();
  }
  communicator.broadcast(rotations, 0);
  communicator.broadcast(traces, 0);
  return rotations;
}

/// The alternation of all starts on this rank's rows.
class Alternation {
 public:
  Alternation(const Communicator& communicator, const RowPartition& partition, torch::Tensor rows,
              std::int64_t starts)
      : communicator_(communicator),
        partition_(partition),
        rows_(std::move(rows)),
        counted_(torch::cat({rows_, torch::ones({rows_.size(0), 1}, rows_.options())}, 1)),
        labels_(torch::zeros({starts, rows_.size(0)}, torch::kInt64)) {}

  /// Gives every row the nearest axis of every start and returns sum indicator^T rows of all ranks.
  torch::Tensor assign(const torch::Tensor& rotations) {
    auto fit = torch::zeros({rows_.size(0), starts()}, torch::kFloat64);
    for (std::int64_t start = 0; rows_.numel() > 0 && start < starts(); ++start) {
      const auto [best, axis] = rows_.matmul(rotations[start]).max(1);
      fit.select(1, start).copy_(best);
      labels_[start].copy_(axis);
    }
    sum();
    fill_empty_clusters(fit);
    return sums_.narrow(2, 0, clusters());
  }

  const torch::Tensor& labels() const { return labels_; }

 private:
  std::int64_t starts() const { return labels_.size(0); }
  std::int64_t clusters() const { return rows_.size(1); }

  void sum() {
    // The last column counts the members of each cluster.
    sums_ = torch::zeros({starts(), clusters(), clusters() + 1}, torch::kFloat64);
    for (std::int64_t start = 0; start < starts(); ++start) {
      sums_[start].index_add_(0, labels_[start], counted_);
    }
    communicator_.all_reduce(sums_);
  }

  /// An empty cluster takes the row that fits its own worst. Without members it would leave the
  /// next rotation undetermined, and rounding would choose it.
  void fill_empty_clusters(const torch::Tensor& fit) {
    const RowRange own = partition_.range(communicator_.rank());
    for (std::int64_t round = 0; round < clusters(); ++round) {
      const auto counts = sums_.select(2, clusters());
      const auto [fewest, emptiest] = counts.min(1);
      if (fewest.min().item<double>() > 0) {
        return;
      }
      auto movable = fit.clone();
      for (std::int64_t start = 0; start < starts(); ++start) {
        const auto alone = counts[start].index_select(0, labels_[start]) < 2;
        movable.select(1, start).masked_fill_(alone, std::numeric_limits<double>::infinity());
      }
      const auto chosen = global_argmin(communicator_, partition_, movable);
      for (std::int64_t start = 0; start < starts(); ++start) {
        const bool mine = chosen[start] >= own.begin && chosen[start] < own.end;
        if (mine && fewest[start].item<double>() == 0) {
          labels_[start][chosen[start] - own.begin] = emptiest[start];
        }
      }
      sum();
    }
  }

  const Communicator& communicator_;
  const RowPartition& partition_;
  torch::Tensor rows_;
  torch::Tensor counted_;
  torch::Tensor labels_;
  torch::Tensor sums_;
};

}  // namespace

torch::Tensor normalize_rows(const torch::Tensor& rows) {
  const auto length = rows.norm(2, 1, true);
  return rows / length.where(length > 0, torch::ones_like(length));
}

Assignment discretize(const Communicator& communicator, const RowPartition& partition,
                      const torch::Tensor& embedding, const DiscretizationOptions& options) {
  const auto rows = normalize_rows(embedding).contiguous();
  auto rotations = first_rotations(communicator, partition, rows, options);
  Alternation alternation(communicator, partition, rows, options.starts);
  auto best = torch::full({options.starts}, -1.0, torch::kFloat64);
  auto labels = torch::zeros({options.starts, rows.size(0)}, torch::kInt64);
  for (std::int64_t iteration = 0; iteration < options.most_iterations; ++iteration) {
    auto traces = torch::zeros({options.starts}, torch::kFloat64);
    rotations = next_rotations(communicator, alternation.assign(rotations), traces);
    const auto improved = traces > best + kTraceTie * best.abs();
    labels = torch::where(improved.unsqueeze(1), alternation.labels(), labels);
    best = torch::where(improved, traces, best);
    if (!improved.any().item<bool>()) {
      break;
    }
  }
  const double largest = best.max().item<double>();
  std::int64_t winner = 0;
  while (best[winner].item<double>() < largest - kTraceTie * largest) {
    ++winner;
  }
  return {labels[winner].clone(), 2 * (static_cast<double>(partition.rows()) - largest)};
}

}  // namespace eigenscale
