#include "eigenscale/linalg/gram.h"

#include <algorithm>
#include <stdexcept>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/scalapack.h"

namespace eigenscale {
namespace {

[[maybe_unused]] void require_fit(const DistributedMatrix& sum, const DistributedMatrix& a,
                                  std::int64_t size) {
  const auto& layout = sum.layout();
  if (layout.rows != size || layout.columns != size || !layout.has_square_blocks() ||
      layout.grid != a.layout().grid || sum.scalar_type() != torch::kFloat64 ||
      a.scalar_type() != torch::kFloat64) {
    throw std::invalid_argument("a sum of products does not fit the matrix that is added");
  }
}

#ifndef EIGENSCALE_HAVE_SCALAPACK
[[noreturn]] void refuse_ranks() {
  throw OptionError(
      "this build has no ScaLAPACK, which products over several ranks need; run on one rank");
}
#endif

}  // namespace

void add_gram(const torch::Tensor& sum, const torch::Tensor& x) {
  const int n = static_cast<int>(x.size(0));
  const int k = static_cast<int>(x.size(1));
  if (n == 0 || k == 0) {
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

void add_gram(DistributedMatrix& sum, const DistributedMatrix& a, bool transpose_second) {
  const int n = static_cast<int>(transpose_second ? a.layout().rows : a.layout().columns);
  const int k = static_cast<int>(transpose_second ? a.layout().columns : a.layout().rows);
  require_fit(sum, a, n);
  const char* transpose = transpose_second ? "N" : "T";
  const double one = 1;
  if (sum.layout().grid->all().size() == 1) {
    const int leading = static_cast<int>(a.leading_dimension());
    const int sum_leading = static_cast<int>(sum.leading_dimension());
    dsyrk_("L", transpose, &n, &k, &one, a.local().data_ptr<double>(), &leading, &one,
           sum.local().data_ptr<double>(), &sum_leading);
    return;
  }
#ifdef EIGENSCALE_HAVE_SCALAPACK
  const auto a_descriptor = a.layout().descriptor(a.leading_dimension());
  const auto descriptor = sum.layout().descriptor(sum.leading_dimension());
  const int first = 1;
  pdsyrk_("L", transpose, &n, &k, &one, a.local().data_ptr<double>(), &first, &first,
          a_descriptor.data(), &one, sum.local().data_ptr<double>(), &first, &first,
          descriptor.data());
#else
  refuse_ranks();
#endif
}

void mirror_lower(DistributedMatrix& matrix) {
  const auto& layout = matrix.layout();
  if (layout.grid->all().size() == 1) {
    mirror_lower(matrix.local());
    return;
  }
#ifdef EIGENSCALE_HAVE_SCALAPACK
  auto transposed = DistributedMatrix::zeros(layout, torch::kFloat64);
  const auto descriptor = layout.descriptor(matrix.leading_dimension());
  const auto transposed_descriptor = layout.descriptor(transposed.leading_dimension());
  const int n = static_cast<int>(layout.rows);
  const int first = 1;
  const double one = 1;
  const double zero = 0;
  pdtran_(&n, &n, &one, matrix.local().data_ptr<double>(), &first, &first, descriptor.data(), &zero,
          transposed.local().data_ptr<double>(), &first, &first, transposed_descriptor.data());
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
#else
  refuse_ranks();
#endif
}

}  // namespace eigenscale
