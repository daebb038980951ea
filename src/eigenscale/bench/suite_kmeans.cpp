#include <algorithm>
#include <cmath>

#include "eigenscale/bench/suites.h"
#include "eigenscale/cluster/kmeans.h"
#include "eigenscale/cluster/lloyd.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/synthetic.h"

namespace eigenscale {
namespace {

/// The own rows, and K centres on all ranks.
struct KmeansProblem {
  RowPartition partition;
  torch::Tensor rows;
  torch::Tensor centres;  // 1 x K x d
};

/// The sum of squared distances to the nearest centre, by differences instead of products.
double inertia_by_differences(const Communicator& world, const KmeansProblem& problem) {
  constexpr std::int64_t kBlock = 4096;
  double sum = 0;
  for (std::int64_t begin = 0; begin < problem.rows.size(0); begin += kBlock) {
    const auto count = std::min(kBlock, problem.rows.size(0) - begin);
    const auto some = problem.rows.narrow(0, begin, count).to(torch::kFloat64);
    auto nearest = torch::full({count}, INFINITY, torch::kFloat64);
    for (std::int64_t k = 0; k < problem.centres.size(1); ++k) {
      nearest = torch::minimum(nearest, (some - problem.centres[0][k]).square().sum(1));
    }
    sum += nearest.sum().item<double>();
  }
  return all_reduce(world, sum);
}

std::vector<Contender> kmeans_contenders(const Communicator& world, const Suite::Size& size) {
  const auto problem =
      std::make_shared<KmeansProblem>(KmeansProblem{RowPartition(size[0], world.size()), {}, {}});
  on_all_ranks(
      world,
      [&] {
        const SyntheticData data({.samples = size[0],
                                  .ambient_dim = size[1],
                                  .subspace_dim = std::min<std::int64_t>(6, size[1]),
                                  .clusters = size[2],
                                  .seed = 1});
        problem->rows = data.make(problem->partition.range(world.rank())).rows;
        problem->centres = data.make({0, size[2]}).rows.to(torch::kFloat64).unsqueeze(0);
      },
      ExitCode::kOptions);
  const auto once = [&world, problem] {
    return lloyd(world, problem->partition, problem->rows, problem->centres, 1);
  };
  return {gemm_limit(world, torch::kFloat64),
          {.name = "Lloyd iteration",
           .work = once,
           .flop = 2.0 * static_cast<double>(size[0] * size[1]) * static_cast<double>(size[2]),
           .limit = "dgemm",
           .error =
               [&world, once, problem] {
                 const double expected = inertia_by_differences(world, *problem);
                 return std::abs(once().inertia[0].item<double>() / expected - 1);
               },
           .bound = 1e-10},
          {.name = "k-means, 10 restarts", .work = [&world, problem, clusters = size[2]] {
             kmeans(world, problem->partition, problem->rows, {.clusters = clusters});
           }}};
}

}  // namespace

Suite kmeans_suite() {
  return {"kmeans",
          "k-means of rows in memory: one iteration, and starts on a sample with all that follows",
          {"samples", "features", "clusters"},
          {{100000, 200, 20}},
          kmeans_contenders};
}

}  // namespace eigenscale
