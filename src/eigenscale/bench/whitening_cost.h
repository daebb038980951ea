#pragma once

#include "eigenscale/bench/cost_model.h"

namespace eigenscale {

/// N samples of D features, more than 32, whitened on P ranks, by k components where fewer than D
/// are kept.
struct WhiteningProblem {
  std::int64_t samples = 0;
  std::int64_t features = 0;
  std::int64_t components = 0;  ///< k; 0 for all
  std::int64_t ranks = 1;
  std::int64_t value_bytes = 4;  ///< of a number in products of rows: 4 or 8
  std::int64_t piece_rows = 1;   ///< of a rank that are multiplied at once
  bool zca = true;
  /// The eigenproblem on one rank by LAPACK, as two ranks of one host do, instead of by ELPA.
  bool one_rank = false;
};

/// [local] Rows that eigenscale-whiten reads at once, but for the mean.
std::int64_t whitening_piece_rows(std::int64_t features, std::int64_t value_bytes,
                                  bool without_covariance);

/// [local] Means and constant features: a pass over the rows.
PhaseCost whitening_mean_cost(const WhiteningProblem& problem);

/// [local] The covariance, summed block-cyclically or by every rank whole: a pass over the rows. In
/// single precision also the probe of what that cost; not the question whether it is definite,
/// which few data pose.
PhaseCost whitening_covariance_cost(const WhiteningProblem& problem);

/// [local] Its eigenpairs and the transform. ELPA's own messages are in no count.
PhaseCost whitening_eigenproblem_cost(const WhiteningProblem& problem);

/// [local] Rows times the D x D (or D x k) transform: a pass over the rows. ScaLAPACK's own
/// messages are in no count; they are in `wire`.
PhaseCost whitening_application_cost(const WhiteningProblem& problem);

/// A block Krylov space of so many columns a block, k and some more.
struct KrylovProblem {
  WhiteningProblem whitening;
  std::int64_t width = 0;
  std::int64_t passes = 1;  ///< over the rows: blocks
  /// In which a block is made orthogonal to those before, until nothing of them is left: 1 to 6.
  std::int64_t rounds = 2;
};

/// [local] The leading components without the covariance.
PhaseCost krylov_components_cost(const KrylovProblem& problem);

/// [local] Rows times a transform of few columns, which every rank has: a pass over the rows.
PhaseCost krylov_application_cost(const WhiteningProblem& problem);

}  // namespace eigenscale
