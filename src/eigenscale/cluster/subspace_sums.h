#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "eigenscale/comm/placement.h"

namespace eigenscale {

/// [local] Of labels wherever they are (int64, 0 to K): what sorts them, keeping the order of
/// equals, and where each of 0 to K begins then, K + 1 numbers.
struct SortedLabels {
  torch::Tensor order;
  torch::Tensor begin;
};
SortedLabels sort_labels(const torch::Tensor& labels, std::int64_t clusters);

/// Adds up what the next bases of K subspaces are made of, from labelled unit rows:
///
///   moments    G_k = sum z z^T,            K x d x d; the bases are its leading eigenvectors
///   iteration  Y_k = sum z (z^T V_k),      K x d x c; one step of subspace iteration,
///   orthonormalised
///
/// in double, of products in the rows' precision. The first where K d^2 is at most kMostMoments
/// numbers (256 MiB), the second above, with V_k of a few columns more than s.
///
/// Where one rank has all rows and clusters have fewer of them than features, the rows are kept
/// instead, and the moments' eigenvectors are found by way of n_k x n_k inner products.
class SubspaceSums {
 public:
  static constexpr std::int64_t kMostMoments = std::int64_t{1} << 25;
  static constexpr std::int64_t kMoreColumns = 4;

  /// [local] `directions` is K x d x c, V_k; undefined: moments, or kept rows if `keep_rows`.
  SubspaceSums(std::int64_t clusters, std::int64_t features, torch::Tensor directions = {},
               bool keep_rows = false);
  /// [local] Of rows that lie as `placement` says, where the sums lie, too. No rows are kept.
  SubspaceSums(const Placement& placement, std::int64_t clusters, std::int64_t features,
               const torch::Tensor& directions);

  /// [local] Whether K subspaces of d features are updated by moments.
  static bool by_moments(std::int64_t clusters, std::int64_t features);

  /// [local] Whether so many rows of all ranks are better kept: on one rank, on average fewer in a
  /// cluster than features.
  static bool by_rows(const Communicator& communicator, std::int64_t rows, std::int64_t clusters,
                      std::int64_t features);

  /// [local] Adds m x d contiguous rows with their labels (int64). Rows of zeros add nothing.
  void add(const torch::Tensor& rows, const torch::Tensor& labels);

  /// The sums of this rank: one flat double tensor, to be summed over ranks in place; empty where
  /// rows are kept.
  const torch::Tensor& values() const { return values_; }

  struct Directions {
    torch::Tensor bases;    ///< K x d x c, orthonormal columns, leading first, double
    torch::Tensor spectra;  ///< K x some, the energy along each
  };
  /// [collective] The leading `columns` directions of every cluster, from sums over all ranks, and
  /// the energy along these and, with moments, up to `energies` of them: the clusters are dealt out
  /// over the ranks.
  Directions directions(const Communicator& communicator, std::int64_t columns,
                        std::int64_t energies = 0) const;

 private:
  template <typename Scalar>
  void add_few_features(const torch::Tensor& rows, const std::int64_t* labels);
  void add_sorted(const torch::Tensor& rows, const std::int64_t* labels);
  void add_on_device(const torch::Tensor& rows, const torch::Tensor& labels);

  void leading_of_rows(const torch::Tensor& rows, torch::Tensor basis,
                       torch::Tensor spectrum) const;

  std::optional<Placement> device_;  // where it is one
  std::int64_t clusters_;
  std::int64_t features_;
  torch::Tensor directions_;
  bool keep_rows_;
  std::vector<torch::Tensor> kept_rows_, kept_labels_;
  torch::Tensor values_;  // K x d x d, lower triangles, or K x d x c
};

}  // namespace eigenscale
