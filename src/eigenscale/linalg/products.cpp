#include "eigenscale/linalg/products.h"

#include <stdexcept>

#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/scalapack.h"

#ifdef EIGENSCALE_HAVE_SCALAPACK
// ScaLAPACK's products add panels of so many columns at a time (PBLAS's "logical block size"), a
// function that ScaLAPACK's documentation leaves to the installation; the library's own says 32,
// at which a product runs at the speed of memory. This one is taken instead of the library's.
extern "C" int pilaenv_(const int* /*context*/, const char* /*type*/) { return 256; }
#endif

namespace eigenscale {
namespace {

BlockCyclicLayout product_layout(const BlockCyclicLayout& a, const BlockCyclicLayout& b,
                                 bool transpose_a, bool transpose_b) {
  const std::int64_t inner_a = transpose_a ? a.rows : a.columns;
  const std::int64_t inner_b = transpose_b ? b.columns : b.rows;
  if (inner_a != inner_b || a.grid != b.grid) {
    throw std::invalid_argument("factors of a product do not fit each other");
  }
  return {transpose_a ? a.columns : a.rows, transpose_b ? b.rows : b.columns,
          transpose_a ? a.column_block : a.row_block, transpose_b ? b.row_block : b.column_block,
          a.grid};
}

#ifdef EIGENSCALE_HAVE_SCALAPACK
template <typename Value, typename Gemm>
void distributed_gemm(Gemm gemm, const DistributedMatrix& a, const DistributedMatrix& b,
                      bool transpose_a, bool transpose_b, DistributedMatrix& c) {
  const auto a_descriptor = a.layout().descriptor(a.leading_dimension());
  const auto b_descriptor = b.layout().descriptor(b.leading_dimension());
  const auto c_descriptor = c.layout().descriptor(c.leading_dimension());
  const int m = static_cast<int>(c.layout().rows);
  const int n = static_cast<int>(c.layout().columns);
  const int k = static_cast<int>(transpose_a ? a.layout().rows : a.layout().columns);
  const int one = 1;
  const double operations = 2.0 * m * n * k / c.layout().grid->all().size();
  const WatchedCall watched("ScaLAPACK's product", c.local().nbytes(), 1e-9 * operations);
  const Value alpha = 1;
  const Value beta = 0;
  gemm(transpose_a ? "T" : "N", transpose_b ? "T" : "N", &m, &n, &k, &alpha,
       a.local().data_ptr<Value>(), &one, &one, a_descriptor.data(), b.local().data_ptr<Value>(),
       &one, &one, b_descriptor.data(), &beta, c.local().data_ptr<Value>(), &one, &one,
       c_descriptor.data());
}
#endif

}  // namespace

DistributedMatrix multiply(const DistributedMatrix& a, const DistributedMatrix& b, bool transpose_a,
                           bool transpose_b) {
  const auto layout = product_layout(a.layout(), b.layout(), transpose_a, transpose_b);
  auto c = DistributedMatrix::zeros(layout, a.scalar_type());
  if (layout.grid->all().size() == 1) {
    const auto left = transpose_a ? a.local().t() : a.local();
    const auto right = transpose_b ? b.local().t() : b.local();
    // C^T = B^T A^T, so that the column-major result is written in place.
    auto transposed = c.local().t();
    torch::mm_out(transposed, right.t(), left.t());
    return c;
  }
#ifdef EIGENSCALE_HAVE_SCALAPACK
  if (a.scalar_type() == torch::kFloat64) {
    distributed_gemm<double>(pdgemm_, a, b, transpose_a, transpose_b, c);
  } else {
    distributed_gemm<float>(psgemm_, a, b, transpose_a, transpose_b, c);
  }
  return c;
#else
  throw OptionError(
      "this build has no ScaLAPACK, which products over several ranks need; run on one rank");
#endif
}

}  // namespace eigenscale
