#include "eigenscale/cluster/subspace_sums.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/thread_team.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {
namespace {

// Below it a loop over rows beats sorting them and calling BLAS for each cluster.
constexpr std::int64_t kFewFeatures = 24;
// Features of an eigenproblem that several threads solve sooner than one, an estimate.
constexpr std::int64_t kLargeForThreads = 512;
// Rows of one product in single precision: its rounding grows with them.
constexpr std::int64_t kSummedRows = 4096;

/// The rows of each cluster behind each other, and where each begins.
struct SortedRows {
  torch::Tensor rows;
  std::vector<std::int64_t> begin;
};

SortedRows sort_by_label(const torch::Tensor& rows, const std::int64_t* labels,
                         std::int64_t clusters) {
  const std::int64_t count = rows.size(0);
  SortedRows sorted{torch::empty_like(rows), std::vector<std::int64_t>(clusters + 1, 0)};
  for (std::int64_t i = 0; i < count; ++i) {
    ++sorted.begin[labels[i] + 1];
  }
  for (std::int64_t k = 0; k < clusters; ++k) {
    sorted.begin[k + 1] += sorted.begin[k];
  }
  auto next = sorted.begin;
  const auto row_bytes =
      static_cast<std::size_t>(rows.size(1)) * torch::elementSize(rows.scalar_type());
  const auto* from = static_cast<const char*>(rows.data_ptr());
  auto* to = static_cast<char*>(sorted.rows.data_ptr());
  for (std::int64_t i = 0; i < count; ++i, from += row_bytes) {
    std::memcpy(to + static_cast<std::size_t>(next[labels[i]]++) * row_bytes, from, row_bytes);
  }
  return sorted;
}

}  // namespace

SubspaceSums::SubspaceSums(std::int64_t clusters, std::int64_t features, torch::Tensor directions,
                           bool keep_rows)
    : clusters_(clusters),
      features_(features),
      directions_(std::move(directions)),
      keep_rows_(keep_rows && !directions_.defined()),
      values_(torch::zeros({keep_rows_ ? 0 : clusters, features,
                            directions_.defined() ? directions_.size(2) : features},
                           torch::kFloat64)) {}

SubspaceSums::SubspaceSums(const Placement& placement, std::int64_t clusters, std::int64_t features,
                           const torch::Tensor& directions)
    : clusters_(clusters),
      features_(features),
      directions_(directions.defined() ? placement.to_device(directions, "bases") : directions),
      keep_rows_(false),
      values_(
          torch::zeros({clusters, features, directions.defined() ? directions.size(2) : features},
                       placement.options(torch::kFloat64))) {
  if (placement.on_device()) {
    device_ = placement;
  }
}

SortedLabels sort_labels(const torch::Tensor& labels, std::int64_t clusters) {
  if (labels.numel() == 0) {
    return {labels, torch::zeros({clusters + 1}, labels.options())};
  }
  const auto [sorted, order] = torch::sort(labels, /*stable=*/true, 0, false);
  return {order, torch::searchsorted(sorted, torch::arange(clusters + 1, labels.options()))};
}

bool SubspaceSums::by_rows(const Communicator& communicator, std::int64_t rows,
                           std::int64_t clusters, std::int64_t features) {
  return communicator.size() == 1 && rows < clusters * features && by_moments(clusters, features);
}

bool SubspaceSums::by_moments(std::int64_t clusters, std::int64_t features) {
  return clusters * features * features <= kMostMoments;
}

void SubspaceSums::add(const torch::Tensor& rows, const torch::Tensor& labels) {
  const TraceSpan span("sum products");
  const torch::NoGradGuard no_grad;
  if (device_) {
    add_on_device(rows, labels);
    return;
  }
  const auto* label = labels.data_ptr<std::int64_t>();
  if (keep_rows_) {
    kept_rows_.push_back(rows);
    kept_labels_.push_back(labels);
    return;
  }
  if (directions_.defined() || features_ > kFewFeatures) {
    add_sorted(rows, label);
  } else if (rows.scalar_type() == torch::kFloat64) {
    add_few_features<double>(rows, label);
  } else {
    add_few_features<float>(rows, label);
  }
}

template <typename Scalar>
void SubspaceSums::add_few_features(const torch::Tensor& rows, const std::int64_t* labels) {
  const auto* row = rows.data_ptr<Scalar>();
  std::vector<double> wide(features_);
  for (std::int64_t i = 0; i < rows.size(0); ++i, row += features_) {
    std::copy_n(row, features_, wide.begin());
    double* sum = values_.data_ptr<double>() + labels[i] * features_ * features_;
    for (std::int64_t j = 0; j < features_; ++j, sum += features_) {
      const double factor = wide[j];
      for (std::int64_t l = 0; l <= j; ++l) {
        sum[l] += factor * wide[l];
      }
    }
  }
}

void SubspaceSums::add_sorted(const torch::Tensor& rows, const std::int64_t* labels) {
  const auto sorted = sort_by_label(rows, labels, clusters_);
  for (std::int64_t k = 0; k < clusters_; ++k) {
    for (std::int64_t first = sorted.begin[k]; first < sorted.begin[k + 1]; first += kSummedRows) {
      const auto some =
          sorted.rows.narrow(0, first, std::min(kSummedRows, sorted.begin[k + 1] - first));
      if (directions_.defined()) {
        values_[k].add_(some.t().mm(some.mm(directions_[k].to(rows.scalar_type()))));
      } else {
        auto product = torch::zeros({features_, features_}, rows.options());
        add_gram_of_rows(product, some);
        values_[k].add_(product);
      }
    }
  }
}

void SubspaceSums::add_on_device(const torch::Tensor& rows, const torch::Tensor& labels) {
  const auto sorted = sort_labels(labels, clusters_);
  const auto in_order = rows.index_select(0, sorted.order);
  const auto begin = device_->to_host(sorted.begin, "cluster sizes");
  for (std::int64_t k = 0; k < clusters_; ++k) {
    const auto last = begin[k + 1].item<std::int64_t>();
    for (auto first = begin[k].item<std::int64_t>(); first < last; first += kSummedRows) {
      const auto some = in_order.narrow(0, first, std::min(kSummedRows, last - first));
      values_[k].add_(some.t().mm(
          directions_.defined() ? some.mm(directions_[k].to(rows.scalar_type())) : some));
    }
  }
}

/// R^T R and R R^T have the same eigenvalues; of the smaller one the vectors u lead to R^T u / |R^T
/// u|.
void SubspaceSums::leading_of_rows(const torch::Tensor& rows, torch::Tensor basis,
                                   torch::Tensor spectrum) const {
  // Below it rounding would leave the vectors less than orthogonal.
  constexpr double kIndependent = 1e-6;
  const std::int64_t columns = basis.size(1);
  const auto wide = rows.to(torch::kFloat64);
  if (columns <= wide.size(0) && wide.size(0) < features_) {
    const std::int64_t count = std::min(wide.size(0), spectrum.size(0));
    const auto eigen = symmetric_eigen(wide.mm(wide.t()), count);
    const auto leading = eigen.values.narrow(0, 0, columns);
    if (leading[columns - 1].item<double>() > kIndependent * leading[0].item<double>()) {
      basis.copy_(wide.t().mm(eigen.vectors.narrow(1, 0, columns)) / leading.sqrt());
      spectrum.narrow(0, 0, count).copy_(eigen.values.clamp_min(0));
      return;
    }
  }
  const auto eigen = symmetric_eigen(wide.t().mm(wide), spectrum.size(0));
  basis.copy_(eigen.vectors.narrow(1, 0, columns));
  spectrum.copy_(eigen.values.clamp_min(0));
}

SubspaceSums::Directions SubspaceSums::directions(const Communicator& communicator,
                                                  std::int64_t columns,
                                                  std::int64_t energies) const {
  const TraceSpan span("update subspaces");
  const RowPartition dealt(clusters_, communicator.size());
  const RowRange own = dealt.range(communicator.rank());
  energies = directions_.defined() ? values_.size(2)
                                   : std::clamp(energies, columns, std::max(columns, features_));
  const auto own_values =
      device_ ? device_->to_host(values_.narrow(0, own.begin, own.size()), "moments")
              : values_.narrow(0, own.begin, keep_rows_ ? 0 : own.size());
  // Bases and spectra travel together.
  auto packed = torch::zeros({own.size(), features_ * columns + energies}, torch::kFloat64);
  on_all_ranks(
      communicator,
      [&] {
        SortedRows kept;
        if (keep_rows_) {
          const auto labels = torch::cat(kept_labels_);
          kept = sort_by_label(torch::cat(kept_rows_), labels.data_ptr<std::int64_t>(), clusters_);
        }
        const auto find = [&](std::int64_t number) {
          const std::int64_t k = own.begin + number;
          auto row = packed[number];
          auto basis = row.narrow(0, 0, features_ * columns).view({features_, columns});
          auto spectrum = row.narrow(0, features_ * columns, energies);
          if (keep_rows_) {
            leading_of_rows(kept.rows.narrow(0, kept.begin[k], kept.begin[k + 1] - kept.begin[k]),
                            basis, spectrum);
          } else if (directions_.defined()) {
            // The left singular vectors of Y = G V span what G V spans, the largest images first.
            const auto [u, s, v] = torch::linalg_svd(own_values[number], false);
            basis.copy_(u.narrow(1, 0, columns));
            spectrum.copy_(s);
          } else {
            auto moments = own_values[number].clone();
            mirror_lower(moments);
            const auto eigen = symmetric_eigen(moments, energies);
            basis.copy_(eigen.vectors.narrow(1, 0, columns));
            spectrum.copy_(eigen.values.clamp_min(0));
          }
        };
        // A thread for each cluster, unless a few large ones would leave most without work.
        const int threads = team_threads();
        const bool moments = !keep_rows_ && !directions_.defined();
        if (moments && 4 * own.size() <= threads && features_ >= kLargeForThreads) {
          for (std::int64_t number = 0; number < own.size(); ++number) {
            find(number);
          }
        } else {
          const BorrowedThreads one(1);
          in_team(own.size(), find, threads);
        }
      },
      ExitCode::kNumerical);
  auto all = torch::empty({clusters_, packed.size(1)}, torch::kFloat64);
  communicator.all_gather(all, packed, dealt.counts());
  return {all.narrow(1, 0, features_ * columns).reshape({clusters_, features_, columns}),
          all.narrow(1, features_ * columns, energies).contiguous()};
}

}  // namespace eigenscale
