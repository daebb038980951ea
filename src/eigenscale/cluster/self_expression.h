#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "eigenscale/cluster/self_expressive_layer.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {

/// The self-expressive layer Z -> C Z of deep subspace clustering (Ji et al., NeurIPS 2017) with
/// the full coefficients C (N x N), distributed, and the training of C itself.
///
/// The N samples are cut into P chunks of n = ceil(N / P); rank (p, q) of the row-major Pr x Pc
/// grid owns the samples of chunk p Pc + q and the block of C whose rows are the chunks of process
/// row p and whose columns are those of process column q:
///
///              chunks:  0   1   2   3            2 x 2 grid, four chunks:
///            0        (0,0)(0,1)(0,0)(0,1)       process column 0 has the columns of chunks 0, 2,
///            1        (0,0)(0,1)(0,0)(0,1)       process column 1 those of 1, 3: a block-cyclic
///            2        (1,0)(1,1)(1,0)(1,1)       matrix with blocks of Pc n x n in natural order
///            3        (1,0)(1,1)(1,0)(1,1)
///
/// C never moves. Chunks of Z travel along process columns, chunks of C Z and its gradient along
/// process rows, one at a time, so that no rank holds N x d unless P = 1. The gradient of C exists
/// one panel of columns at a time and goes straight into Adam.
///
/// Latent samples are columns here: Z^T (d x n_p, row-major), the layout the encoder works in.
class SelfExpression final : public SelfExpressiveLayer {
 public:
  /// [collective over the grid] C starts at `options.initial` everywhere (L1: but on the diagonal).
  SelfExpression(std::shared_ptr<const ProcessGrid> grid, const RowPartition& partition,
                 torch::ScalarType type, const SelfExpressionOptions& options);
  /// [collective over the grid] C lies and is trained where `placement` says, whose communicators
  /// have the ranks of the grid; it is borrowed.
  SelfExpression(std::shared_ptr<const ProcessGrid> grid, const RowPartition& partition,
                 torch::ScalarType type, const SelfExpressionOptions& options,
                 const Placement& placement);

  torch::Tensor reconstruct(const torch::Tensor& latent) const override;
  torch::Tensor backward_and_update(const torch::Tensor& gradient,
                                    const torch::Tensor& latent) override;
  torch::Tensor state_rows(std::size_t which) const override;
  void set_state_rows(std::size_t which, const torch::Tensor& rows) override;
  void set_steps(std::int64_t steps) override { steps_ = steps; }

  /// [local] The coefficients on the host; shares storage where they are there.
  DistributedMatrix coefficients() const;
  /// [local] Frees Adam's moments, which the phases after training do not need.
  void finish_training();

 private:
  DistributedMatrix matrix_of(const torch::Tensor& transposed) const;
  torch::Tensor state(std::size_t which) const;
  /// The ranks of this process row and column, over tensors where C lies.
  const Communicator& row() const { return device_row_ ? *device_row_ : grid_->row(); }
  const Communicator& column() const { return device_column_ ? *device_column_ : grid_->column(); }
  torch::Tensor block(const torch::Tensor& matrix, int chunk_column, int chunk_row) const;
  torch::Tensor fetch(const Communicator& communicator, const torch::Tensor& own, int owner,
                      std::int64_t samples) const;
  void update_panel(const torch::Tensor& gradient, const torch::Tensor& latent, int chunk_column,
                    int chunk_row, std::int64_t first, std::int64_t count,
                    const torch::Tensor& latent_gradient);
  void clear_diagonal();

  std::shared_ptr<const ProcessGrid> grid_;
  Placement placement_;
  std::unique_ptr<Communicator> device_row_, device_column_;  ///< null on the host
  RowPartition partition_;
  SelfExpressionOptions options_;
  /// Samples of each chunk of my process row (Pc of them) and column (Pr), and their offsets in the
  /// local block.
  std::vector<std::int64_t> row_counts_, row_offsets_, column_counts_, column_offsets_;
  /// The own block transposed, local columns x local rows, row-major.
  torch::Tensor coefficients_, first_moment_, second_moment_;
  torch::Tensor panel_;
  std::int64_t steps_ = 0;
};

}  // namespace eigenscale
