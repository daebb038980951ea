#include "eigenscale/bench/suites.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/linalg/products.h"

namespace eigenscale {
namespace {

/// The own part of a matrix that every rank can name the entries of: cos(i + 3 j).
DistributedMatrix cosine_matrix(const BlockCyclicLayout& layout) {
  auto result = DistributedMatrix::zeros(layout, torch::kFloat64);
  result.local().copy_(torch::cos(layout.global_rows().to(torch::kFloat64).unsqueeze(1) +
                                  3 * layout.global_columns().to(torch::kFloat64).unsqueeze(0)));
  return result;
}

/// Largest entry of (A B) x - A (B x), with x of ones, on the own rows; A and B as above.
double product_error(const Communicator& world, const DistributedMatrix& product, std::int64_t n) {
  const auto& layout = product.layout();
  const auto index = torch::arange(n, torch::kFloat64);
  // B 1 and A (B 1), one row at a time: nothing of n x n.
  auto sums = torch::zeros({n}, torch::kFloat64);
  for (std::int64_t j = 0; j < n; ++j) {
    sums.add_(torch::cos(index + 3.0 * static_cast<double>(j)));
  }
  const auto rows = layout.global_rows();
  auto expected = torch::zeros({rows.size(0)}, torch::kFloat64);
  for (std::int64_t j = 0; j < n; ++j) {
    expected.add_(torch::cos(rows.to(torch::kFloat64) + 3.0 * static_cast<double>(j)) * sums[j]);
  }
  const auto own = product.local().sum(1).contiguous();
  layout.grid->row().all_reduce(own);
  const double error = rows.size(0) == 0 ? 0 : (own - expected).abs().max().item<double>();
  return all_reduce(world, error, ReduceOp::kMax) / static_cast<double>(n);
}

std::vector<Contender> gemm_contenders(const Communicator& world, const Suite::Size& size) {
  ProcessGrid::require(world.size());
  const std::int64_t n = size[0];
  const auto [rows, columns] = ProcessGrid::squarest(world.size());
  const auto grid = std::make_shared<const ProcessGrid>(world, rows, columns);
  const BlockCyclicLayout layout{n, n, 32, 32, grid};
  const auto a = cosine_matrix(layout);
  const auto sum =
      std::make_shared<DistributedMatrix>(DistributedMatrix::zeros(layout, torch::kFloat64));
  const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  return {gemm_limit(world, torch::kFloat64),
          gemm_limit(world, torch::kFloat32),
          {.name = "multiply",
           .work = [a] { multiply(a, a); },
           .flop = 2 * cube,
           .limit = "dgemm",
           .error = [&world, a, n] { return product_error(world, multiply(a, a), n); },
           .bound = 1e-10},
          {.name = "add_gram",
           .work = [a, sum] { add_gram(*sum, a); },
           .flop = cube,
           .limit = "dgemm"}};
}

}  // namespace

Suite gemm_suite() {
  return {"gemm",
          "distributed products in double against BLAS on each rank's own matrices",
          {"n"},
          {{512}, {1024}, {2048}},
          gemm_contenders};
}

}  // namespace eigenscale
