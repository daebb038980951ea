#include "eigenscale/cluster/lloyd.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "eigenscale/cluster/row_exchange.h"

namespace eigenscale {
namespace {

/// Mean of the rows of all ranks. A block at a time: no copy of all rows in double.
torch::Tensor mean_of_rows(const Communicator& communicator, const RowPartition& partition,
                           const torch::Tensor& rows) {
  auto sum = torch::zeros({rows.size(1)}, torch::kFloat64);
  if (rows.size(0) > 0) {
    sum.copy_(rows.sum(0, false, torch::kFloat64));
  }
  communicator.all_reduce(sum);
  return sum / static_cast<double>(std::max<std::int64_t>(1, partition.rows()));
}

class Lloyd {
 public:
  Lloyd(const Communicator& communicator, const RowPartition& partition, const torch::Tensor& rows,
        torch::Tensor centres)
      : communicator_(communicator),
        partition_(partition),
        rows_(rows),
        mean_(mean_of_rows(communicator, partition, rows)),
        centres_((centres - mean_).contiguous()),
        labels_(torch::zeros({restarts(), rows.size(0)}, torch::kInt64)),
        distances_(torch::zeros({restarts(), rows.size(0)}, torch::kFloat64)) {}

  LloydResult run(std::int64_t most_iterations) {
    auto best = torch::full({restarts()}, std::numeric_limits<double>::infinity(), torch::kFloat64);
    std::int64_t iteration = 0;
    while (iteration < most_iterations) {
      ++iteration;
      const auto sums = assign_and_sum();
      const auto counts = sums.select(2, features());
      const auto inertia = sums.select(2, features() + 1).sum(1);
      centres_ = (sums.narrow(2, 0, features()) / counts.unsqueeze(2).clamp_min(1)).contiguous();
      // At the first iteration infinity less infinity: nothing has fallen yet.
      const bool settled =
          iteration > 1 && (inertia >= best - kInertiaTie * best).all().item<bool>();
      best = torch::minimum(best, inertia);
      bool moved = false;
      for (std::int64_t restart = 0; restart < restarts(); ++restart) {
        moved = refill(restart, counts[restart]) || moved;
      }
      if (settled && !moved) {
        break;
      }
    }
    return {centres_ + mean_, labels_, best, iteration};
  }

 private:
  std::int64_t restarts() const { return centres_.size(0); }
  std::int64_t clusters() const { return centres_.size(1); }
  std::int64_t features() const { return centres_.size(2); }

  torch::Tensor block(std::int64_t begin, std::int64_t count) const {
    return rows_.narrow(0, begin, count).to(torch::kFloat64).sub(mean_).contiguous();
  }

  /// Labels and distances of all rows; over all ranks and for each restart and cluster the sum of
  /// its rows, and in the last two columns their number and inertia.
  torch::Tensor assign_and_sum() {
    constexpr std::int64_t kBlockNumbers = std::int64_t{1} << 20;
    const std::int64_t width = features() + restarts() * clusters();
    const std::int64_t most = std::max<std::int64_t>(1, kBlockNumbers / width);
    auto sums = torch::zeros({restarts(), clusters(), features() + 2}, torch::kFloat64);
    const auto flat = centres_.view({restarts() * clusters(), features()});
    const auto squares = flat.square().sum(1).contiguous();
    for (std::int64_t begin = 0; begin < rows_.size(0); begin += most) {
      const std::int64_t count = std::min(most, rows_.size(0) - begin);
      const auto values = block(begin, count);
      const auto products = values.matmul(flat.t()).contiguous();
      add_block(begin, values, products, squares, sums);
    }
    communicator_.all_reduce(sums);
    return sums;
  }

  void add_block(std::int64_t begin, const torch::Tensor& values, const torch::Tensor& products,
                 const torch::Tensor& squares, const torch::Tensor& sums) {
    const std::int64_t dim = features();
    const std::int64_t centres = clusters();
    const auto* value = values.data_ptr<double>();
    const auto* product = products.data_ptr<double>();
    for (std::int64_t row = 0; row < values.size(0); ++row, value += dim) {
      double norm = 0;
      for (std::int64_t j = 0; j < dim; ++j) {
        norm += value[j] * value[j];
      }
      const auto* square = squares.data_ptr<double>();
      for (std::int64_t restart = 0; restart < restarts(); ++restart) {
        std::int64_t nearest = 0;
        double least = std::numeric_limits<double>::infinity();
        for (std::int64_t k = 0; k < centres; ++k) {
          const double distance = square[k] - 2 * product[k];
          if (distance < least) {
            least = distance;
            nearest = k;
          }
        }
        product += centres;
        square += centres;
        const double distance = std::max(0.0, norm + least);
        const std::int64_t place = restart * rows_.size(0) + begin + row;
        labels_.data_ptr<std::int64_t>()[place] = nearest;
        distances_.data_ptr<double>()[place] = distance;
        double* sum = sums.data_ptr<double>() + (restart * centres + nearest) * (dim + 2);
        for (std::int64_t j = 0; j < dim; ++j) {
          sum[j] += value[j];
        }
        sum[dim] += 1;
        sum[dim + 1] += distance;
      }
    }
  }

  /// Moves every empty cluster of a restart onto the row farthest from its own centre; false when
  /// there was nothing to move, or no row away from its centre.
  bool refill(std::int64_t restart, const torch::Tensor& counts) {
    bool moved = false;
    for (std::int64_t k = 0; k < clusters(); ++k) {
      if (counts[k].item<double>() > 0) {
        continue;
      }
      const auto distances = distances_[restart];
      const auto farthest = global_argmin(communicator_, partition_, -distances.unsqueeze(1));
      const std::int64_t own = farthest[0] - partition_.range(communicator_.rank()).begin;
      const bool here = own >= 0 && own < distances.size(0);
      // From the owner: the row, and the centre it had.
      auto found = torch::zeros({2, features()}, torch::kFloat64);
      if (here) {
        found[0].copy_(block(own, 1)[0]);
        found[1].copy_(centres_[restart][labels_[restart][own].item<std::int64_t>()]);
        distances[own] = 0;
      }
      communicator_.all_reduce(found);
      // The mean of equal rows is off by rounding.
      constexpr double kSameRow = 1e-13;
      const double apart = (found[0] - found[1]).norm().item<double>();
      if (apart <= kSameRow * found[0].norm().item<double>()) {
        return moved;
      }
      centres_[restart][k].copy_(found[0]);
      moved = true;
    }
    return moved;
  }

  const Communicator& communicator_;
  RowPartition partition_;
  const torch::Tensor& rows_;
  torch::Tensor mean_;
  torch::Tensor centres_;
  torch::Tensor labels_;
  torch::Tensor distances_;
};

}  // namespace

LloydResult lloyd(const Communicator& communicator, const RowPartition& partition,
                  const torch::Tensor& rows, torch::Tensor centres, std::int64_t most_iterations) {
  return Lloyd(communicator, partition, rows, std::move(centres)).run(most_iterations);
}

}  // namespace eigenscale
