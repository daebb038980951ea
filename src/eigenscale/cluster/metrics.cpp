#include "eigenscale/cluster/metrics.h"

// Only templates of dlib are used. This header of it would ask for its compiled library, to compare
// versions, wherever the compiler does not drop what nobody reads: without optimisation.
#define DLIB_TEST_FOR_ODR_VIOLATIONS_H_
#include <dlib/matrix.h>
#include <dlib/optimization/max_cost_assignment.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace eigenscale {
namespace {

double choose_two(double n) { return n * (n - 1) / 2; }

double entropy(const torch::Tensor& counts, double total) {
  const auto share = counts.to(torch::kFloat64) / total;
  return -torch::special::xlogy(share, share).sum().item<double>();
}

double normalised_mutual_information(const torch::Tensor& confusion) {
  const double total = confusion.sum().item<double>();
  const auto rows = confusion.sum(1);
  const auto columns = confusion.sum(0);
  const double row_entropy = entropy(rows, total);
  const double column_entropy = entropy(columns, total);
  const double information = row_entropy + column_entropy - entropy(confusion.flatten(), total);
  const double mean = (row_entropy + column_entropy) / 2;
  return mean > 0 ? std::clamp(information / mean, 0.0, 1.0) : 1.0;
}

double adjusted_rand_index(const torch::Tensor& confusion) {
  const auto pairs = [](const torch::Tensor& counts) {
    const auto n = counts.to(torch::kFloat64);
    return (n * (n - 1) / 2).sum().item<double>();
  };
  const double both = pairs(confusion);
  const double rows = pairs(confusion.sum(1));
  const double columns = pairs(confusion.sum(0));
  const double all = choose_two(confusion.sum().item<double>());
  const double expected = all > 0 ? rows * columns / all : 0;
  const double most = (rows + columns) / 2;
  return most == expected ? 1.0 : (both - expected) / (most - expected);
}

}  // namespace

torch::Tensor confusion_matrix(const Communicator& communicator, const torch::Tensor& clusters,
                               const torch::Tensor& classes) {
  const auto largest = [&](const torch::Tensor& labels) {
    return all_reduce(communicator,
                      labels.numel() > 0 ? labels.max().item<std::int64_t>() : std::int64_t{0},
                      ReduceOp::kMax);
  };
  const std::int64_t rows = largest(clusters) + 1;
  const std::int64_t columns = largest(classes) + 1;
  const auto pairs = (clusters * columns + classes).masked_select(classes >= 0);
  auto counts = torch::bincount(pairs, {}, rows * columns);
  communicator.all_reduce(counts);
  return counts.reshape({rows, columns});
}

std::vector<std::int64_t> best_match(const torch::Tensor& confusion) {
  const std::int64_t size = std::max(confusion.size(0), confusion.size(1));
  const auto counts = confusion.accessor<std::int64_t, 2>();
  dlib::matrix<std::int64_t> gain = dlib::zeros_matrix<std::int64_t>(size, size);
  for (std::int64_t i = 0; i < confusion.size(0); ++i) {
    for (std::int64_t j = 0; j < confusion.size(1); ++j) {
      gain(i, j) = counts[i][j];
    }
  }
  const std::vector<long> assignment = dlib::max_cost_assignment(gain);
  std::vector<std::int64_t> match(confusion.size(0), -1);
  for (std::size_t i = 0; i < match.size(); ++i) {
    if (assignment[i] < confusion.size(1)) {
      match[i] = assignment[i];
    }
  }
  return match;
}

ClusteringMetrics clustering_metrics(const torch::Tensor& confusion) {
  if (confusion.sum().item<std::int64_t>() == 0) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    return {kNone, kNone, kNone};
  }
  const auto match = best_match(confusion);
  const auto counts = confusion.accessor<std::int64_t, 2>();
  std::int64_t matched = 0;
  for (std::size_t cluster = 0; cluster < match.size(); ++cluster) {
    matched += match[cluster] >= 0 ? counts[static_cast<std::int64_t>(cluster)][match[cluster]] : 0;
  }
  return {static_cast<double>(matched) / confusion.sum().item<double>(),
          normalised_mutual_information(confusion), adjusted_rand_index(confusion)};
}

void number_by_first_appearance(const Communicator& communicator, torch::Tensor labels,
                                std::int64_t first_row, std::int64_t clusters) {
  auto first = torch::full({clusters}, std::numeric_limits<std::int64_t>::max(), torch::kInt64);
  auto* first_seen = first.data_ptr<std::int64_t>();
  auto* own = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    first_seen[own[i]] = std::min(first_seen[own[i]], first_row + i);
  }
  communicator.all_reduce(first, ReduceOp::kMin);
  std::vector<std::int64_t> order(clusters);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](auto a, auto b) { return first_seen[a] < first_seen[b]; });
  std::vector<std::int64_t> number(clusters);
  for (std::int64_t k = 0; k < clusters; ++k) {
    number[order[k]] = k;
  }
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    own[i] = number[own[i]];
  }
}

}  // namespace eigenscale
