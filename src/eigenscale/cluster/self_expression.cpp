#include "eigenscale/cluster/self_expression.h"

#include <algorithm>
#include <numeric>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/row_blocks.h"

namespace eigenscale {
namespace {

// Columns of C whose gradient exists at a time: wide enough for full GEMM speed, small enough that
// gradient, coefficients and moments of a panel stay in cache for a few thousand rows.
constexpr std::int64_t kPanelColumns = 256;

std::vector<std::int64_t> offsets_of(const std::vector<std::int64_t>& counts) {
  std::vector<std::int64_t> offsets(counts.size(), 0);
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), std::int64_t{0});
  return offsets;
}

}  // namespace

SelfExpression::SelfExpression(std::shared_ptr<const ProcessGrid> grid,
                               const RowPartition& partition, torch::ScalarType type,
                               const SelfExpressionOptions& options)
    : SelfExpression(grid, partition, type, options, Placement(grid->all())) {}

SelfExpression::SelfExpression(std::shared_ptr<const ProcessGrid> grid,
                               const RowPartition& partition, torch::ScalarType type,
                               const SelfExpressionOptions& options, const Placement& placement)
    : grid_(std::move(grid)), placement_(placement), partition_(partition), options_(options) {
  if (placement.on_device()) {
    device_row_ = placement.data().split(grid_->row_index(), grid_->column_index());
    device_column_ = placement.data().split(grid_->column_index(), grid_->row_index());
  }
  for (int column = 0; column < grid_->columns(); ++column) {
    row_counts_.push_back(partition_.range(grid_->row_index() * grid_->columns() + column).size());
  }
  for (int row = 0; row < grid_->rows(); ++row) {
    column_counts_.push_back(
        partition_.range(row * grid_->columns() + grid_->column_index()).size());
  }
  row_offsets_ = offsets_of(row_counts_);
  column_offsets_ = offsets_of(column_counts_);
  const std::int64_t rows = row_offsets_.back() + row_counts_.back();
  const std::int64_t columns = column_offsets_.back() + column_counts_.back();
  coefficients_ = torch::full({columns, rows}, options_.initial, placement.options(type));
  first_moment_ = torch::zeros_like(coefficients_);
  second_moment_ = torch::zeros_like(coefficients_);
  panel_ = torch::empty({std::min(kPanelColumns, columns), rows}, placement.options(type));
  if (options_.norm == CoefficientNorm::kL1) {
    clear_diagonal();
  }
}

torch::Tensor SelfExpression::block(const torch::Tensor& matrix, int chunk_column,
                                    int chunk_row) const {
  return matrix.narrow(0, column_offsets_[chunk_column], column_counts_[chunk_column])
      .narrow(1, row_offsets_[chunk_row], row_counts_[chunk_row]);
}

torch::Tensor SelfExpression::fetch(const Communicator& communicator, const torch::Tensor& own,
                                    int owner, std::int64_t samples) const {
  if (communicator.size() == 1) {
    return own;
  }
  const auto chunk =
      communicator.rank() == owner ? own : torch::empty({own.size(0), samples}, own.options());
  communicator.broadcast(chunk, owner);
  return chunk;
}

torch::Tensor SelfExpression::reconstruct(const torch::Tensor& latent) const {
  const TraceSpan span("self-expression forward");
  const auto own = latent.contiguous();
  std::vector<torch::Tensor> sums(grid_->columns());
  torch::Tensor result;
  for (int s = 0; s < grid_->rows(); ++s) {
    const auto chunk = fetch(column(), own, s, column_counts_[s]);
    for (int t = 0; t < grid_->columns(); ++t) {
      if (s == 0) {
        sums[t] = torch::mm(chunk, block(coefficients_, s, t));
      } else {
        sums[t].addmm_(chunk, block(coefficients_, s, t));
      }
      // The sums of a chunk leave as soon as they are complete, so that a 1 x Pc grid holds one.
      if (s + 1 == grid_->rows()) {
        row().reduce(sums[t], ReduceOp::kSum, t);
        if (t == grid_->column_index()) {
          result = sums[t];
        }
        sums[t].reset();
      }
    }
  }
  return result;
}

void SelfExpression::update_panel(const torch::Tensor& gradient, const torch::Tensor& latent,
                                  int chunk_column, int chunk_row, std::int64_t first,
                                  std::int64_t count, const torch::Tensor& latent_gradient) {
  const auto panel_of = [&](const torch::Tensor& matrix) {
    return block(matrix, chunk_column, chunk_row).narrow(0, first, count);
  };
  const auto coefficients = panel_of(coefficients_);
  latent_gradient.narrow(1, first, count).addmm_(gradient, coefficients.t());

  // A view with the strides of the coefficients' panel, as the optimiser wants it.
  const auto panel =
      panel_.narrow(0, 0, count).narrow(1, row_offsets_[chunk_row], row_counts_[chunk_row]);
  const auto samples = latent.narrow(1, first, count).t();
  torch::mm_out(const_cast<torch::Tensor&>(panel), samples, gradient);
  update(coefficients, panel, panel_of(first_moment_), panel_of(second_moment_), steps_, options_);
}

torch::Tensor SelfExpression::backward_and_update(const torch::Tensor& gradient,
                                                  const torch::Tensor& latent) {
  const TraceSpan span("self-expression backward and update");
  ++steps_;
  begin_penalty();
  const auto own_latent = latent.contiguous();
  const auto own_gradient = gradient.contiguous();
  std::vector<torch::Tensor> gradients(grid_->columns());
  torch::Tensor result;
  for (int s = 0; s < grid_->rows(); ++s) {
    const auto chunk = fetch(column(), own_latent, s, column_counts_[s]);
    auto latent_gradient = torch::zeros_like(chunk);
    for (int t = 0; t < grid_->columns(); ++t) {
      if (s == 0) {
        gradients[t] = fetch(row(), own_gradient, t, row_counts_[t]);
      }
      for (std::int64_t first = 0; first < column_counts_[s]; first += kPanelColumns) {
        update_panel(gradients[t], chunk, s, t, first,
                     std::min(kPanelColumns, column_counts_[s] - first), latent_gradient);
      }
      if (s + 1 == grid_->rows()) {
        gradients[t].reset();
      }
    }
    column().reduce(latent_gradient, ReduceOp::kSum, s);
    if (s == grid_->row_index()) {
      result = latent_gradient;
    }
  }
  if (options_.norm == CoefficientNorm::kL1) {
    clear_diagonal();
  }
  return result;
}

void SelfExpression::clear_diagonal() {
  // diag(C) of a sample lies on the rank that owns the sample.
  block(coefficients_, grid_->row_index(), grid_->column_index()).fill_diagonal_(0);
}

DistributedMatrix SelfExpression::matrix_of(const torch::Tensor& transposed) const {
  const std::int64_t n = partition_.block();
  return DistributedMatrix(
      BlockCyclicLayout{partition_.rows(), partition_.rows(), grid_->columns() * n, n, grid_},
      transposed.t());
}

DistributedMatrix SelfExpression::coefficients() const {
  return matrix_of(placement_.to_host(coefficients_, "coefficients"));
}

torch::Tensor SelfExpression::state(std::size_t which) const {
  return std::array{coefficients_, first_moment_, second_moment_}.at(which);
}

torch::Tensor SelfExpression::state_rows(std::size_t which) const {
  return to_row_blocks(matrix_of(placement_.to_host(state(which), "files")), partition_);
}

void SelfExpression::set_state_rows(std::size_t which, const torch::Tensor& rows) {
  const auto own = state(which);
  copy_into(own.t(), from_row_blocks(rows, partition_, matrix_of(own).layout()).local(), "files");
}

void SelfExpression::finish_training() {
  first_moment_.reset();
  second_moment_.reset();
  panel_.reset();
}

}  // namespace eigenscale
