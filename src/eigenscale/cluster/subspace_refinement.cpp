#include "eigenscale/cluster/subspace_refinement.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "eigenscale/cluster/starved_clusters.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/subspace_sums.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/core/random.h"
#include "eigenscale/data/device_rows.h"
#include "eigenscale/data/row_placement.h"
#include "eigenscale/data/row_stream.h"

namespace eigenscale {
namespace {

constexpr float kTakesNoPart = -1;

/// Columns of the directions that are iterated where there are no moments.
std::int64_t iterated_columns(std::int64_t features, std::int64_t dimension) {
  return std::min(features, dimension + SubspaceSums::kMoreColumns);
}

/// `bases` (K x d x s) with random columns behind up to c, orthonormal, double.
torch::Tensor extend(const torch::Tensor& bases, std::int64_t columns) {
  const auto more = random_bases(bases.size(0), bases.size(1), columns, 0, torch::kFloat64);
  const auto wide =
      torch::cat({bases.to(torch::kFloat64), more}, 2).narrow(2, 0, columns).contiguous();
  return std::get<0>(torch::linalg_qr(wide));
}

class Refiner {
 public:
  Refiner(const Placement& placement, const RowProvider& rows, const RefinementProgress& from,
          const RefinementOptions& options)
      : placement_(placement),
        communicator_(placement.control()),
        rows_(rows),
        stream_(communicator_, rows, {.type = from.bases.scalar_type()}),
        first_row_(place_rows(communicator_, rows.rows()).first),
        clusters_(from.bases.size(0)),
        features_(from.bases.size(1)),
        dimension_(from.bases.size(2)),
        options_(options),
        moments_(!options.iterate && SubspaceSums::by_moments(clusters_, features_)),
        keep_rows_(moments_ && !placement.on_device() &&
                   SubspaceSums::by_rows(communicator_, stream_.rows(), clusters_, features_)) {
    result_.bases = from.bases;
    result_.passes = from.passes;
    if (!moments_) {
      directions_ = from.directions.defined()
                        ? from.directions
                        : extend(from.bases, iterated_columns(features_, dimension_));
    }
    result_.labels = torch::full({rows.rows()}, -1, placement.options(torch::kInt64));
    result_.residuals = torch::zeros({rows.rows()}, placement.options(torch::kFloat32));
    if (from.labelling_bases.defined()) {
      label(from.labelling_bases);
    }
  }

  Refinement run(const std::function<void(const RefinementProgress&)>& on_pass) {
    double before = result_.passes.empty() ? std::numeric_limits<double>::infinity()
                                           : result_.passes.back().objective;
    for (std::int64_t pass = std::ssize(result_.passes) + 1;; ++pass) {
      const auto labelling_bases = result_.bases;
      auto [sums, report] = walk(pass);
      const double moved = std::abs(before - report.objective);
      before = report.objective;
      // Squared lengths of unit rows are off by a few ulp.
      const double rounding = result_.bases.scalar_type() == torch::kFloat64 ? 1e-14 : 4e-7;
      const bool done = pass >= options_.most_passes || report.changed < options_.label_share ||
                        (moved < std::max(options_.objective_share * report.objective, rounding)) ||
                        report.objective < rounding;
      if (!done) {
        report.refilled = update(sums.directions(communicator_, columns()).bases);
      } else if (options_.spectra) {
        const auto last =
            sums.directions(communicator_, columns(), std::min(features_, 2 * dimension_ + 4));
        result_.spectra = last.spectra / result_.sizes.clamp_min(1).unsqueeze(1);
      }
      result_.passes.push_back(report);
      if (on_pass) {
        on_pass({result_.bases, directions_, labelling_bases, result_.passes, done});
      }
      if (done) {
        result_.objective = report.objective;
        result_.residuals.masked_fill_(result_.residuals == kTakesNoPart, 1);
        result_.labels = placement_.to_host(result_.labels, "labels");
        result_.residuals = placement_.to_host(result_.residuals, "residuals");
        return std::move(result_);
      }
    }
  }

 private:
  std::int64_t columns() const {
    return moments_ ? dimension_ : iterated_columns(features_, dimension_);
  }

  /// Labels of all rows by `bases`, as a pass with them has left them.
  void label(const torch::Tensor& bases) {
    const SubspaceAssigner assigner(placement_, bases);
    stream_.for_each_piece([&](const RowPiece& piece) {
      const auto own = [&](const torch::Tensor& all) {
        return all.narrow(0, piece.range.begin, piece.range.size());
      };
      assigner.assign(piece.rows.contiguous(), first_row_ + piece.range.begin,
                      {own(result_.labels), own(result_.residuals)});
    });
  }

  /// What a pass counts, doubles where the rows lie.
  struct Totals {
    torch::Tensor sizes;    ///< rows of each cluster
    torch::Tensor numbers;  ///< objective, rows that changed, rows of zeros
  };

  /// Takes the labels of a piece of rows and counts.
  void take(const torch::Tensor& rows, const torch::Tensor& labels, const torch::Tensor& old_labels,
            const torch::Tensor& residuals, const Totals& totals) const {
    auto* old = old_labels.data_ptr<std::int64_t>();
    const auto* now = labels.data_ptr<std::int64_t>();
    auto* residual = residuals.data_ptr<float>();
    auto* numbers = totals.numbers.data_ptr<double>();
    double objective = numbers[0];
    std::int64_t changed = 0;
    auto* sizes = totals.sizes.data_ptr<double>();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      changed += old[i] != now[i] ? 1 : 0;
      old[i] = now[i];
      objective += residual[i];
      // Only such a row can be zero, and then takes no part.
      if (residual[i] == 1 && is_zero_row(rows, i)) {
        numbers[2] += 1;
        residual[i] = kTakesNoPart;  // nor may a starved cluster take it
      } else {
        sizes[now[i]] += 1;
      }
    }
    numbers[0] = objective;
    numbers[1] += static_cast<double>(changed);
  }

  /// The same on a device.
  void take_on_device(const torch::Tensor& rows, const torch::Tensor& labels,
                      torch::Tensor old_labels, torch::Tensor residuals,
                      const Totals& totals) const {
    const auto zero = zero_rows_on_device(rows, residuals);
    const auto begin =
        sort_labels(torch::where(zero, torch::full_like(labels, clusters_), labels), clusters_)
            .begin;
    torch::Tensor(totals.sizes).add_(begin.diff());
    torch::Tensor(totals.numbers)
        .add_(torch::stack({residuals.sum(torch::kFloat64),
                            (old_labels != labels).sum().to(torch::kFloat64),
                            zero.sum().to(torch::kFloat64)}));
    old_labels.copy_(labels);
    residuals.masked_fill_(zero, kTakesNoPart);
  }

  SubspaceSums empty_sums() const {
    return placement_.on_device() ? SubspaceSums(placement_, clusters_, features_, directions_)
                                  : SubspaceSums(clusters_, features_, directions_, keep_rows_);
  }

  /// Assigns all rows by the present bases and adds up the sums of the next.
  std::pair<SubspaceSums, RefinementPass> walk(std::int64_t pass) {
    auto sums = empty_sums();
    const SubspaceAssigner assigner(placement_, result_.bases);
    const auto wide = placement_.options(torch::kFloat64);
    const Totals totals{torch::zeros({clusters_}, wide), torch::zeros({3}, wide)};
    stream_.for_each_piece([&](const RowPiece& piece) {
      const std::int64_t count = piece.range.size();
      const auto rows = piece.rows.contiguous();
      const auto old_labels = result_.labels.narrow(0, piece.range.begin, count);
      const auto residuals = result_.residuals.narrow(0, piece.range.begin, count);
      const auto labels = torch::empty({count}, placement_.options(torch::kInt64));
      assigner.assign(rows, first_row_ + piece.range.begin, {labels, residuals});
      if (placement_.on_device()) {
        take_on_device(rows, labels, old_labels, residuals, totals);
      } else {
        take(rows, labels, old_labels, residuals, totals);
      }
      sums.add(rows, labels);
    });
    const auto numbers = reduce(sums, totals);
    const auto count = static_cast<double>(std::max<std::int64_t>(1, stream_.rows()));
    return {std::move(sums),
            {.pass = pass, .objective = numbers[0] / count, .changed = numbers[1] / count}};
  }

  /// The one sum over ranks of a pass. Returns the numbers of the totals.
  std::array<double, 3> reduce(const SubspaceSums& sums, const Totals& totals) {
    const auto flat = sums.values().view({-1});
    auto all = torch::cat({flat, totals.sizes, totals.numbers});
    placement_.data().all_reduce(all);
    flat.copy_(all.narrow(0, 0, flat.numel()));
    const auto counted =
        placement_.to_host(all.narrow(0, flat.numel(), clusters_ + 3), "totals of a pass");
    result_.sizes = counted.narrow(0, 0, clusters_).to(torch::kInt64);
    const auto* numbers = counted.data_ptr<double>() + clusters_;
    result_.zero_rows = static_cast<std::int64_t>(numbers[2]);
    return {numbers[0], numbers[1], numbers[2]};
  }

  /// Takes the next bases; returns the number of clusters that had too few rows.
  std::int64_t update(torch::Tensor next) {
    std::int64_t starved = 0;
    if ((result_.sizes < dimension_).any().item<bool>()) {
      starved = refill_starved_clusters(
          communicator_, CarriedRows(CarriedRows::To::kHost, rows_, placement_), first_row_,
          placement_.to_host(result_.residuals, "residuals"), result_.sizes, dimension_, next);
    }
    result_.bases = next.narrow(2, 0, dimension_).to(result_.bases.scalar_type()).contiguous();
    if (!moments_) {
      directions_ = next;
    }
    return starved;
  }

  Placement placement_;
  const Communicator& communicator_;
  const RowProvider& rows_;
  RowStream stream_;
  std::int64_t first_row_;
  std::int64_t clusters_, features_, dimension_;
  RefinementOptions options_;
  bool moments_;
  bool keep_rows_;
  torch::Tensor directions_;
  Refinement result_;
};

}  // namespace

Refinement refine_subspaces(const Placement& placement, const RowProvider& rows,
                            const torch::Tensor& bases, const RefinementOptions& options) {
  RefinementProgress start;
  start.bases = bases;
  return Refiner(placement, rows, start, options).run({});
}

Refinement refine_subspaces(const Placement& placement, const RowProvider& rows,
                            const RefinementProgress& from, const RefinementOptions& options,
                            const std::function<void(const RefinementProgress&)>& on_pass) {
  return Refiner(placement, rows, from, options).run(on_pass);
}

torch::Tensor fit_subspaces(const Communicator& communicator, const RowProvider& rows,
                            const torch::Tensor& labels, std::int64_t clusters,
                            std::int64_t dimension, torch::ScalarType type) {
  // Subspace iteration from a random start turns slowly; the rows of a fit are few.
  constexpr int kIterations = 8;
  const std::int64_t features = rows.features();
  const bool moments = SubspaceSums::by_moments(clusters, features);
  const std::int64_t columns = moments ? dimension : iterated_columns(features, dimension);
  torch::Tensor bases;
  if (!moments) {
    bases = random_bases(clusters, features, columns, 1, torch::kFloat64);
  }
  const RowStream stream(communicator, rows, {.type = type});
  for (int iteration = 0; iteration < (moments ? 1 : kIterations); ++iteration) {
    SubspaceSums sums(clusters, features, bases,
                      SubspaceSums::by_rows(communicator, stream.rows(), clusters, features));
    stream.for_each_piece([&](const RowPiece& piece) {
      sums.add(piece.rows.contiguous(), labels.narrow(0, piece.range.begin, piece.range.size()));
    });
    communicator.all_reduce(sums.values());
    bases = sums.directions(communicator, columns).bases;
  }
  return bases.narrow(2, 0, dimension).to(type).contiguous();
}

torch::Tensor random_bases(std::int64_t clusters, std::int64_t features, std::int64_t dimension,
                           std::uint64_t seed, torch::ScalarType type) {
  const CounterRandom random(seed, "subspace bases");
  auto gaussian = torch::empty({clusters, features, dimension}, torch::kFloat64);
  auto* values = gaussian.data_ptr<double>();
  for (std::int64_t i = 0; i < gaussian.numel(); ++i) {
    values[i] = random.normal(static_cast<std::uint64_t>(i));
  }
  return std::get<0>(torch::linalg_qr(gaussian)).to(type).contiguous();
}

std::vector<std::int64_t> order_of_appearance(const Communicator& communicator,
                                              const torch::Tensor& labels,
                                              const torch::Tensor& residuals,
                                              std::int64_t first_row, std::int64_t clusters) {
  auto first = torch::full({clusters}, std::numeric_limits<std::int64_t>::max(), torch::kInt64);
  auto* seen = first.data_ptr<std::int64_t>();
  const auto* label = labels.data_ptr<std::int64_t>();
  const auto* residual = residuals.data_ptr<float>();
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    if (residual[i] < 1) {
      seen[label[i]] = std::min(seen[label[i]], first_row + i);
    }
  }
  communicator.all_reduce(first, ReduceOp::kMin);
  std::vector<std::int64_t> order(clusters);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](auto a, auto b) { return seen[a] < seen[b]; });
  return order;
}

}  // namespace eigenscale
