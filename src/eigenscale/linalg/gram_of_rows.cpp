#include <algorithm>

#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/scalapack.h"

namespace eigenscale {
namespace {

// Rows of the sum that are computed at once. BLAS copies what is left of the diagonal for each such
// panel anew; the products of a panel wait in a room of its size to be added.
constexpr std::int64_t kPanelRows = 512;

/// Adds rows `top` .. `end` of X^T X, up to the diagonal. `room` has a panel's rows, n wide.
void add_panel(const torch::Tensor& sum, const torch::Tensor& x, std::int64_t top, std::int64_t end,
               const torch::Tensor& room) {
  const std::int64_t n = x.size(1);
  const auto panel = x.narrow(1, top, end - top);
  if (top > 0) {
    auto left = room.narrow(0, 0, end - top).narrow(1, 0, top);
    torch::mm_out(left, panel.t(), x.narrow(1, 0, top));
  }
  // Row-major X is column-major X^T, and the lower triangle the upper one.
  const int width = static_cast<int>(end - top);
  const int count = static_cast<int>(x.size(0));
  const int leading = static_cast<int>(n);
  const float one = 1;
  const float zero = 0;
  ssyrk_("U", "N", &width, &count, &one, panel.data_ptr<float>(), &leading, &zero,
         room.data_ptr<float>() + top, &leading);
  const auto* products = room.data_ptr<float>();
  auto* target = sum.data_ptr<double>();
  for (std::int64_t row = top; row < end; ++row) {
    const float* from = products + (row - top) * n;
    double* to = target + row * n;
    for (std::int64_t i = 0; i <= row; ++i) {
      to[i] += static_cast<double>(from[i]);
    }
  }
}

}  // namespace

void add_gram_of_rows(const torch::Tensor& sum, const torch::Tensor& x) {
  const int n = static_cast<int>(x.size(1));
  const int k = static_cast<int>(x.size(0));
  if (n == 0 || k == 0) {
    return;
  }
  if (x.scalar_type() == torch::kFloat64) {
    const double one = 1;
    dsyrk_("U", "N", &n, &k, &one, x.data_ptr<double>(), &n, &one, sum.data_ptr<double>(), &n);
  } else {
    const float one = 1;
    ssyrk_("U", "N", &n, &k, &one, x.data_ptr<float>(), &n, &one, sum.data_ptr<float>(), &n);
  }
}

void add_widened_gram_of_rows(const torch::Tensor& sum, const torch::Tensor& x) {
  const std::int64_t n = x.size(1);
  const std::int64_t rows = x.size(0);
  if (x.scalar_type() == torch::kFloat64 || n == 0 || rows == 0) {
    add_gram_of_rows(sum, x);
    return;
  }
  // As many rows at a time as there are at another: products of few are slow.
  const std::int64_t times = (rows + kSingleProducts - 1) / kSingleProducts;
  const std::int64_t most = (rows + times - 1) / times;
  const auto room = torch::empty({std::min(kPanelRows, n), n}, x.options());
  for (std::int64_t first = 0; first < rows; first += most) {
    const auto some = x.narrow(0, first, std::min(most, rows - first));
    for (std::int64_t top = 0; top < n; top += kPanelRows) {
      add_panel(sum, some, top, std::min(top + kPanelRows, n), room);
    }
  }
}

}  // namespace eigenscale
