#include "eigenscale/linalg/gram.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "eigenscale/linalg/redistribute.h"
#include "eigenscale/linalg/scalapack.h"
#include "eigenscale/linalg/widened_sum.h"

namespace eigenscale {
namespace {

// Columns of the sum that are computed at once: enough for BLAS to run at its speed, few enough
// that what is above the diagonal does not matter.
constexpr std::int64_t kPanel = 256;
constexpr std::int64_t kEdge = 64;  // across the diagonal

void require_fit(const DistributedMatrix& sum, const DistributedMatrix& a) {
  const auto& layout = sum.layout();
  if (layout.rows != a.layout().rows || layout.columns != a.layout().rows ||
      !layout.has_square_blocks() || layout.row_block != a.layout().row_block ||
      layout.grid != a.layout().grid || sum.scalar_type() != torch::kFloat64) {
    throw std::invalid_argument("a sum of products does not fit the matrix that is added");
  }
}

/// Where sorted `some`, which are all in sorted `all`, stand there.
torch::Tensor positions(const torch::Tensor& all, const torch::Tensor& some) {
  return torch::searchsorted(all, some);
}

/// Those of sorted `a` that sorted `b` has, too.
torch::Tensor common(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.numel() == 0 || b.numel() == 0) {
    return torch::empty({0}, torch::kInt64);
  }
  const auto at = torch::searchsorted(b, a).clamp_max(b.numel() - 1);
  return a.masked_select(b.index_select(0, at) == a);
}

/// The factors of this rank's part of A A^T, some columns of A at a time.
class TravellingColumns {
 public:
  TravellingColumns(const DistributedMatrix& sum, const DistributedMatrix& a)
      : a_(a), grid_(*a.layout().grid), rows_(sum.layout().global_rows()) {
    const auto columns = sum.layout().global_columns();
    std::vector<torch::Tensor> arriving;
    for (int row = 0; row < grid_.rows(); ++row) {
      // Columns of the grid have the same rows of A in each process row.
      const int rank = row * grid_.columns() + grid_.column_index();
      arriving.push_back(common(sum.layout().global_rows(rank), columns));
      counts_.push_back(arriving.back().numel());
    }
    order_ = torch::argsort(torch::cat(arriving));
    own_ = positions(rows_, arriving[grid_.row_index()]);
    for (int column = 0; column < grid_.columns(); ++column) {
      const int rank = grid_.row_index() * grid_.columns() + column;
      widths_.push_back(a.layout().local_columns(rank));
    }
    const auto most = a.scalar_type() == torch::kFloat64 ? kTravellingDoubles : kSingleProducts;
    width_ = std::max<std::int64_t>(1, most / grid_.columns());
    pieces_ = (*std::ranges::max_element(widths_) + width_ - 1) / width_;
  }

  std::int64_t pieces() const { return pieces_; }

  struct Factors {
    torch::Tensor of_rows;     ///< columns of A x own rows of the sum
    torch::Tensor of_columns;  ///< own columns of the sum x columns of A, in the same order
  };

  /// [collective]
  Factors piece(std::int64_t index) const {
    Communicator::Counts counts;
    std::int64_t total = 0;
    for (const auto width : widths_) {
      counts.push_back(std::clamp<std::int64_t>(width - index * width_, 0, width_));
      total += counts.back();
    }
    const auto own = a_.local().t().narrow(
        0, std::min(index * width_, widths_[grid_.column_index()]), counts[grid_.column_index()]);
    auto of_rows = own.contiguous();
    if (grid_.columns() > 1) {
      of_rows = torch::empty({total, own.size(1)}, own.options());
      grid_.row().all_gather(of_rows, own.contiguous(), counts);
    }
    auto of_columns = of_rows.index_select(1, own_).t().contiguous();
    if (grid_.rows() > 1) {
      auto arrived = torch::empty({order_.numel(), total}, own.options());
      grid_.column().all_gather(arrived, of_columns, counts_);
      of_columns = arrived.index_select(0, order_);
    }
    return {of_rows, of_columns};
  }

 private:
  const DistributedMatrix& a_;
  const ProcessGrid& grid_;
  torch::Tensor rows_;
  Communicator::Counts counts_;  ///< rows that arrive from each process row
  torch::Tensor order_;          ///< of those by their index
  torch::Tensor own_;            ///< own rows that travel, by position
  std::vector<std::int64_t> widths_;
  std::int64_t width_ = 1;
  std::int64_t pieces_ = 0;
};

/// Adds the products of `factors` to the part of the sum that lies on or below the diagonal: panels
/// of columns below it, and narrow ones across it, where what is above is computed in vain.
void add_panels(const BlockCyclicLayout& layout, const torch::Tensor& sum,
                const TravellingColumns::Factors& factors) {
  const auto rows = layout.global_rows();
  const auto columns = layout.global_columns();
  const auto transposed = sum.t();  // row-major
  // New memory for each product would cost more than adding it.
  const bool widened = factors.of_rows.scalar_type() != torch::kFloat64;
  const auto room = torch::empty({widened ? kPanel * rows.numel() : 0}, factors.of_rows.options());
  const auto first_row = [&](std::int64_t column) {
    return torch::searchsorted(rows, columns.narrow(0, column, 1)).item<std::int64_t>();
  };
  const auto add = [&](std::int64_t column, std::int64_t width, std::int64_t row,
                       std::int64_t end) {
    if (row == end) {
      return;
    }
    const auto target = transposed.narrow(0, column, width).narrow(1, row, end - row);
    const auto left = factors.of_columns.narrow(0, column, width);
    const auto right = factors.of_rows.narrow(1, row, end - row);
    if (left.scalar_type() == torch::kFloat64) {
      target.addmm_(left, right);
    } else {
      auto product = room.narrow(0, 0, width * (end - row)).view({width, end - row});
      torch::mm_out(product, left, right);
      add_widened(target, product);
    }
  };
  for (std::int64_t first = 0; first < columns.numel(); first += kPanel) {
    const auto end = std::min(first + kPanel, columns.numel());
    const auto below = first_row(end - 1);
    for (std::int64_t edge = first; edge < end; edge += kEdge) {
      add(edge, std::min(kEdge, end - edge), first_row(edge), below);
    }
    add(first, end - first, below, rows.numel());
  }
}

}  // namespace

void add_gram(const torch::Tensor& sum, const torch::Tensor& x) {
  const int n = static_cast<int>(x.size(0));
  const int k = static_cast<int>(x.size(1));
  if (n == 0 || k == 0) {
    return;
  }
  if (!x.is_cpu()) {
    torch::Tensor(sum).addmm_(x, x.t());
    return;
  }
  // Row-major X is column-major X^T, and the lower triangle the upper one.
  if (x.scalar_type() == torch::kFloat64) {
    const double one = 1;
    dsyrk_("U", "T", &n, &k, &one, x.data_ptr<double>(), &k, &one, sum.data_ptr<double>(), &n);
  } else {
    const float one = 1;
    ssyrk_("U", "T", &n, &k, &one, x.data_ptr<float>(), &k, &one, sum.data_ptr<float>(), &n);
  }
}

void mirror_lower(const torch::Tensor& matrix) {
  constexpr std::int64_t kBlock = 256;
  const std::int64_t n = matrix.size(0);
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t size = std::min(kBlock, n - first);
    const std::int64_t rest = n - first - size;
    auto diagonal = matrix.narrow(0, first, size).narrow(1, first, size);
    diagonal.copy_(diagonal.tril() + diagonal.tril(-1).t());
    matrix.narrow(0, first, size)
        .narrow(1, first + size, rest)
        .copy_(matrix.narrow(0, first + size, rest).narrow(1, first, size).t());
  }
}

void add_gram(DistributedMatrix& sum, const DistributedMatrix& a) {
  require_fit(sum, a);
  if (sum.layout().grid->all().size() > 1) {
    const TravellingColumns travelling(sum, a);
    for (std::int64_t index = 0; index < travelling.pieces(); ++index) {
      add_panels(sum.layout(), sum.local(), travelling.piece(index));
    }
    return;
  }
  if (a.scalar_type() == torch::kFloat64) {
    const int n = static_cast<int>(a.layout().rows);
    const int k = static_cast<int>(a.layout().columns);
    const double one = 1;
    const int leading = static_cast<int>(a.leading_dimension());
    const int sum_leading = static_cast<int>(sum.leading_dimension());
    dsyrk_("L", "N", &n, &k, &one, a.local().data_ptr<double>(), &leading, &one,
           sum.local().data_ptr<double>(), &sum_leading);
    return;
  }
  for (std::int64_t first = 0; first < a.layout().columns; first += kSingleProducts) {
    const auto count = std::min(kSingleProducts, a.layout().columns - first);
    const auto columns = a.local().narrow(1, first, count);
    add_panels(sum.layout(), sum.local(), {columns.t(), columns});
  }
}

void mirror_lower(DistributedMatrix& matrix) {
  const auto& layout = matrix.layout();
  if (layout.grid->all().size() == 1) {
    mirror_lower(matrix.local());
    return;
  }
  const auto transposed = redistribute_transposed(matrix, layout);
  // Of each column the rows above the diagonal, which come first.
  const auto rows = layout.global_rows();
  const auto columns = layout.global_columns();
  const auto above = torch::searchsorted(rows, columns);
  for (std::int64_t j = 0; j < columns.numel(); ++j) {
    const std::int64_t count = above[j].item<std::int64_t>();
    matrix.local()
        .select(1, j)
        .narrow(0, 0, count)
        .copy_(transposed.local().select(1, j).narrow(0, 0, count));
  }
}

}  // namespace eigenscale
