#include <cmath>

#include "eigenscale/bench/cost_model.h"
#include "eigenscale/bench/suites.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"
#include "eigenscale/data/synthetic.h"

namespace eigenscale {
namespace {

/// Rows in memory and the subspaces they were drawn from.
struct SubspaceProblem {
  std::unique_ptr<MemoryRows> raw;
  std::unique_ptr<UnitRows> rows;
  torch::Tensor unit;  ///< the own rows, of unit length
  torch::Tensor bases;
  std::int64_t first = 0;
};

std::vector<Contender> subspaces_contenders(const Communicator& world, const Suite::Size& size) {
  const auto problem = std::make_shared<SubspaceProblem>();
  const RowPartition partition(size[0], world.size());
  const auto own = partition.range(world.rank());
  on_all_ranks(
      world,
      [&] {
        const SyntheticData data({.samples = size[0],
                                  .ambient_dim = size[1],
                                  .subspace_dim = size[3],
                                  .clusters = size[2],
                                  .seed = 1});
        problem->raw = std::make_unique<MemoryRows>(data.make(own).rows);
        problem->bases = data.bases({0, size[2]}).to(torch::kFloat32).contiguous();
      },
      ExitCode::kOptions);
  problem->rows = std::make_unique<UnitRows>(*problem->raw);
  problem->unit = problem->rows->read({0, own.size()}, torch::kFloat32).contiguous();
  problem->first = own.begin;
  const auto once = [&world, problem] {
    return refine_subspaces(world, *problem->rows, problem->bases, {.most_passes = 1});
  };
  const auto cost = refinement_pass_cost({.samples = size[0],
                                          .features = size[1],
                                          .clusters = size[2],
                                          .dimension = size[3],
                                          .ranks = world.size()});
  const double assignment = 2.0 * static_cast<double>(size[0] * size[1] * size[2] * size[3]);
  return {gemm_limit(world, torch::kFloat32),
          {.name = "assignment",
           .work =
               [problem] {
                 const auto rows = problem->unit.size(0);
                 SubspaceAssigner(problem->bases)
                     .assign(problem->unit, problem->first,
                             {torch::empty({rows}, torch::kInt64), torch::empty({rows})});
               },
           .flop = assignment,
           .limit = "sgemm"},
          {.name = "refinement pass",
           .work = once,
           .flop = cost.flop * world.size(),
           .bytes = cost.bytes,
           .limit = "sgemm",
           // The rows lie in the subspaces it starts from.
           .error = [once] { return std::sqrt(once().objective); },
           .bound = 2e-3}};
}

}  // namespace

Suite subspaces_suite() {
  return {"subspaces",
          "one pass of refinement over rows in memory: assignment and update of K subspaces",
          {"samples", "features", "clusters", "dimension"},
          {{100000, 200, 20, 6}},
          subspaces_contenders};
}

}  // namespace eigenscale
