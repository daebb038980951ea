#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

struct RefinementOptions {
  /// It stops when fewer than this share of the labels change, ...
  double label_share = 1e-5;
  /// ... or the objective moves by less than this share of itself, or less than rounding makes of
  /// rows that lie exactly in their subspaces, ...
  double objective_share = 1e-6;
  /// ... or after so many passes.
  std::int64_t most_passes = 50;
  /// Whether the spectra of the end are wanted: one more eigenproblem a cluster.
  bool spectra = true;
  /// Each pass turns the subspaces by one step of subspace iteration, as it must where K d^2 is too
  /// much for moments, rather than to the leading eigenvectors: for d many times s much cheaper,
  /// and as good once they hardly turn any more.
  bool iterate = false;
};

/// Of all rows. Where the dimension stands out they lie in subspaces, and refinement goes on to the
/// end. Otherwise, as with images, subspaces are only near them, and the landmarks' labels that it
/// starts from know more of the clusters than the last of the objective: it ends at the first pass
/// that wins less than a thousandth. Where there are subspaces after all, passes win more until
/// they are found.
constexpr RefinementOptions refinement_of(bool dimension_stands_out) {
  return {.objective_share = dimension_stands_out ? 1e-6 : 1e-3};
}

struct RefinementPass {
  std::int64_t pass = 0;      ///< from 1
  double objective = 0;       ///< mean squared distance of the unit rows to their nearest subspace
  double changed = 1;         ///< share of the rows whose label is another than in the pass before
  std::int64_t refilled = 0;  ///< clusters with fewer rows than dimensions, given new ones
};

/// Where a refinement stands behind a pass, the same on all ranks: what it goes on from.
struct RefinementProgress {
  torch::Tensor bases;  ///< of the next pass, K x d x s
  /// Where K d^2 is too much for moments: the directions that are iterated, K x d x c, double.
  torch::Tensor directions;
  torch::Tensor labelling_bases;  ///< that made the labels of the last pass; undefined before one
  std::vector<RefinementPass> passes;
  bool done = false;  ///< there is no next pass
};

struct Refinement {
  /// K x d x s, orthonormal columns, of the type asked for: those that *made* the labels.
  torch::Tensor bases;
  /// Energy along each leading direction of the rows of a cluster, K x (up to 2 s + 4), double, per
  /// row.
  torch::Tensor spectra;
  torch::Tensor labels;     ///< this rank's, int64
  torch::Tensor residuals;  ///< this rank's, float32
  torch::Tensor sizes;      ///< rows of each cluster over all ranks, int64; zero rows left out
  double objective = 0;
  std::int64_t zero_rows = 0;
  std::vector<RefinementPass> passes;
};

/// [collective] Alternates, in one pass over the rows of all ranks each, the assignment of rows to
/// K subspaces and the subspaces' update (k-subspaces: Bradley and Mangasarian 2000; Tseng 2000).
/// `rows` are this rank's unit rows or zeros (UnitRows), lying as `placement` says, `bases` the
/// start, K x d x s in the precision of the work. What comes out is on the host. A pass is one sum
/// over ranks; a cluster with fewer than s rows takes those with the largest residuals. Rows are
/// read again in every pass; held are 12 bytes a row. InputError (agreed) as RowStream.
Refinement refine_subspaces(const Placement& placement, const RowProvider& rows,
                            const torch::Tensor& bases, const RefinementOptions& options);

/// [collective] The same, going on from where an earlier one stood: one more pass makes the labels
/// of its last one again. On as many ranks it ends as if nothing had been between, to the bit.
/// `on_pass` sees every pass on all ranks, and may end the refinement by an exception on all of
/// them.
Refinement refine_subspaces(const Placement& placement, const RowProvider& rows,
                            const RefinementProgress& from, const RefinementOptions& options,
                            const std::function<void(const RefinementProgress&)>& on_pass);

/// [collective] The bases of labelled rows, K x d x s of `type`: leading directions of each
/// cluster. Labels are int64; rows of zeros add nothing.
torch::Tensor fit_subspaces(const Communicator& communicator, const RowProvider& rows,
                            const torch::Tensor& labels, std::int64_t clusters,
                            std::int64_t dimension, torch::ScalarType type);

/// [local] K random bases of s dimensions each, K x d x s: a function of the seed.
torch::Tensor random_bases(std::int64_t clusters, std::int64_t features, std::int64_t dimension,
                           std::uint64_t seed, torch::ScalarType type);

/// [collective] Clusters in the order in which their first rows stand in the global order, rows
/// with residual 1 left out; those without rows behind. order[i] is the old number of cluster i.
std::vector<std::int64_t> order_of_appearance(const Communicator& communicator,
                                              const torch::Tensor& labels,
                                              const torch::Tensor& residuals,
                                              std::int64_t first_row, std::int64_t clusters);

}  // namespace eigenscale
