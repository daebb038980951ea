#include "eigenscale/bench/suites.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"
#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/spectral/streamed_covariance.h"
#include "eigenscale/spectral/whitening_fit.h"
#include "eigenscale/spectral/whitening_rows.h"
#include "eigenscale/spectral/whitening_transform.h"

namespace eigenscale {
namespace {

struct WhitenProblem {
  std::shared_ptr<const ProcessGrid> grid;
  std::int64_t samples = 0;
  std::int64_t features = 0;
  torch::Tensor rows;         ///< this rank's, double
  torch::Tensor single_rows;  ///< the same as floats
  torch::Tensor single_sum;   ///< D x D floats: what ssyrk sums alone
  DistributedMatrix covariance;
  WhiteningTransform transform;
  std::unique_ptr<MemoryRows> provider;
  std::unique_ptr<RowStream> stream;         ///< of the floats, as a run reads them
  std::unique_ptr<WhiteningMap> single_map;  ///< of the floats, as a run applies it

  DistributedMatrix sum_products(const torch::Tensor& of,
                                 torch::ScalarType products = torch::kFloat64) const {
    GramAccumulator sum(grid, grid->all(), features, products,
                        way_of_sum(samples, features, EigenRange::all(), grid->all()));
    sum.add(of);
    auto result = sum.take_sum();
    result.local().div_(static_cast<double>(samples));
    return result;
  }
  torch::Tensor whitened() const {
    return own_rows_of(multiply(transform.matrix, distribute_samples(grid, rows), true),
                       rows.size(0));
  }
};

constexpr double kWhitenEpsilon = 1e-6;

/// Largest entry of the whitened samples' covariance minus what it is meant to be.
double whiten_error(const Communicator& world, const WhitenProblem& problem) {
  const auto is = problem.sum_products(problem.whitened());
  const auto meant = whitened_covariance(problem.transform, {.epsilon = kWhitenEpsilon});
  const auto difference = (is.local() - meant.local()).abs();
  return all_reduce(world, difference.numel() == 0 ? 0 : difference.max().item<double>(),
                    ReduceOp::kMax);
}

/// Largest entry of the difference between the covariances of both precisions.
double single_error(const Communicator& world, const WhitenProblem& problem) {
  const auto single = problem.sum_products(problem.single_rows, torch::kFloat32);
  const auto difference = (single.local() - problem.covariance.local()).abs();
  return all_reduce(world, difference.numel() == 0 ? 0 : difference.max().item<double>(),
                    ReduceOp::kMax);
}

std::vector<Contender> whiten_contenders(const Communicator& world, const Suite::Size& size) {
  ProcessGrid::require(world.size());
  const auto problem = std::make_shared<WhitenProblem>();
  problem->samples = size[0];
  problem->features = size[1];
  const auto [rows, columns] = ProcessGrid::squarest(world.size());
  problem->grid = std::make_shared<const ProcessGrid>(world, rows, columns);
  const auto own = RowPartition(size[0], world.size()).range(world.rank());
  torch::manual_seed(1 + world.rank());
  problem->rows = torch::rand({own.size(), size[1]}, torch::kFloat64) - 0.5;
  problem->single_rows = problem->rows.to(torch::kFloat32);
  problem->single_sum = torch::zeros({size[1], size[1]});
  problem->covariance = problem->sum_products(problem->rows);
  problem->transform = whitening_transform(problem->covariance, {.epsilon = kWhitenEpsilon});
  problem->provider = std::make_unique<MemoryRows>(problem->single_rows);
  problem->stream = std::make_unique<RowStream>(
      world, *problem->provider,
      RowStreamOptions{.piece_bytes = moments_piece_bytes(size[1], 4), .read_ahead = false});
  problem->single_map =
      dense_map(world, problem->transform.matrix, /*symmetric=*/true, size[0], torch::kFloat32);
  const double n = static_cast<double>(size[0]);
  const double d = static_cast<double>(size[1]);
  return {
      gemm_limit(world, torch::kFloat64),
      gemm_limit(world, torch::kFloat32),
      {.name = "ssyrk",  // of each rank's rows, without a sum over ranks
       .work = [problem] { add_gram_of_rows(problem->single_sum, problem->single_rows); },
       .flop = n * d * d},
      {.name = "mean",
       .work = [&world, problem] { feature_moments(world, *problem->stream); },
       .flop = 3 * n * d},
      {.name = "covariance",
       .work = [problem] { problem->sum_products(problem->rows); },
       .flop = n * d * d,
       .limit = "dgemm"},
      {.name = "covariance of floats",
       .work = [problem] { problem->sum_products(problem->single_rows, torch::kFloat32); },
       .flop = n * d * d,
       .limit = "ssyrk",
       .error = [&world, problem] { return single_error(world, *problem); },
       // Entries of at most 1 / 12: linalg/gram.h has the bound.
       .bound = 6.2e-5 / 12},
      {.name = "transform",
       .work = [problem] { whitening_transform(problem->covariance, {.epsilon = kWhitenEpsilon}); },
       .flop = (4.0 / 3 + 2 + 2) * d * d * d,
       .limit = "dgemm"},
      {.name = "application",
       .work = [problem] { problem->whitened(); },
       .flop = 2 * n * d * d,
       .limit = "dgemm",
       .error = [&world, problem] { return whiten_error(world, *problem); },
       .bound = 1e-8},
      {.name = "application of floats",
       .work = [problem] { problem->single_map->apply(problem->single_rows); },
       .flop = 2 * n * d * d,
       .limit = "sgemm"}};
}

}  // namespace

Suite whiten_suite() {
  return {"whiten",
          "the three parts of whitening a data set in memory",
          {"samples", "features"},
          {{4000, 256}, {4000, 1024}},
          whiten_contenders};
}

}  // namespace eigenscale
