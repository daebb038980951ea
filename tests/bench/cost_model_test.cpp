#include "eigenscale/bench/cost_model.h"

#include "eigenscale/cluster/self_expression.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/data/row_provider.h"
#include "eigenscale/data/synthetic.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/nn/named_networks.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/train/data_parallel_step.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

/// What this rank's counters say that `work` did; [collective] the largest over ranks.
struct Counted {
  double bytes = 0;
  double messages = 0;
};

Counted count_of(const std::function<void()>& work) {
  auto before = counters();
  work();
  auto after = counters();
  const auto more = [&](const std::string& name) {
    return static_cast<double>(after[name] - before[name]);
  };
  const Counted own = {more("communication.bytes"), more("communication.calls")};
  return {all_reduce(world(), own.bytes, ReduceOp::kMax),
          all_reduce(world(), own.messages, ReduceOp::kMax)};
}

TEST(CostModel, CountsATrainingStepExactly) {
  const auto specification =
      named_network("mlp:300,200", {.input = {40}, .classes = 5, .normalization = nullptr});
  Network network(world(), specification, torch::kFloat32, 1);
  GradientReducerOptions reducer;
  reducer.first_bucket_bytes = 40000;
  reducer.bucket_bytes = 100000;
  DataParallelStep step(world(), network, {}, reducer);
  const auto rows = torch::ones({8, 40});
  const auto once = [&] {
    step.step([&] {
      const auto loss = network.forward(rows).square().sum();
      step.last_backward();
      loss.backward();
      return loss.item<double>();
    });
  };
  once();  // here the ranks agree on the order of the buckets
  const auto counted = count_of(once);
  const auto cost =
      training_step_cost({.batch = 8 * world().size(),
                          .parameters = network.parameter_count(),
                          .buckets = static_cast<std::int64_t>(step.reducer().buckets()),
                          .ranks = world().size()});
  EXPECT_EQ(counted.bytes, cost.bytes);
  EXPECT_EQ(counted.messages, cost.messages);
}

TEST(CostModel, CountsASelfExpressionStepExactly) {
  constexpr std::int64_t kSamples = 48;
  constexpr std::int64_t kLatent = 5;
  const auto [rows, columns] = ProcessGrid::squarest(world().size());
  const RowPartition partition(kSamples, world().size());
  SelfExpression layer(std::make_shared<const ProcessGrid>(world(), rows, columns), partition,
                       torch::kFloat32, {});
  const auto latent = torch::ones({kLatent, partition.range(world().rank()).size()});
  const auto counted =
      count_of([&] { layer.backward_and_update(layer.reconstruct(latent) - latent, latent); });
  const auto cost = self_expression_step_cost(
      {.samples = kSamples, .latent = kLatent, .grid_rows = rows, .grid_columns = columns});
  EXPECT_EQ(counted.bytes, cost.bytes);
  EXPECT_EQ(counted.messages, cost.messages);
}

TEST(CostModel, CountsARefinementPassExactly) {
  constexpr std::int64_t kSamples = 4000;
  constexpr std::int64_t kFeatures = 30;
  constexpr std::int64_t kClusters = 5;
  constexpr std::int64_t kDimension = 3;
  const SyntheticData data({.samples = kSamples,
                            .ambient_dim = kFeatures,
                            .subspace_dim = kDimension,
                            .clusters = kClusters,
                            .noise = 0.3,
                            .seed = 1});
  const MemoryRows raw(
      data.make(RowPartition(kSamples, world().size()).range(world().rank())).rows);
  const UnitRows rows(raw);
  const auto start = random_bases(kClusters, kFeatures, kDimension, 1, torch::kFloat32);
  const auto count_of_passes = [&](std::int64_t passes) {
    std::int64_t done = 0;
    const auto counted = count_of([&] {
      const auto refinement = refine_subspaces(
          world(), rows, start,
          {.label_share = 0, .objective_share = 0, .most_passes = passes, .spectra = false});
      done = std::ssize(refinement.passes);
      for (const auto& pass : refinement.passes) {
        EXPECT_EQ(pass.refilled, 0);
      }
    });
    EXPECT_EQ(done, passes);
    return counted;
  };
  const auto three = count_of_passes(3);
  const auto four = count_of_passes(4);
  const auto cost = refinement_pass_cost({.samples = kSamples,
                                          .features = kFeatures,
                                          .clusters = kClusters,
                                          .dimension = kDimension,
                                          .ranks = world().size()});
  EXPECT_EQ(four.bytes - three.bytes, cost.bytes);
  EXPECT_EQ(four.messages - three.messages, cost.messages);
}

TEST(CostModel, WorkIsSharedAndTimesAddUp) {
  const RefinementProblem one = {.samples = 1000, .features = 20, .clusters = 4, .dimension = 3};
  auto four = one;
  four.ranks = 4;
  EXPECT_DOUBLE_EQ(refinement_pass_cost(four).flop * 4, refinement_pass_cost(one).flop);
  EXPECT_DOUBLE_EQ(refinement_pass_cost(one).wire, 0);
  EXPECT_DOUBLE_EQ(all_reduce_wire(100, 4), 150);
  const auto step = training_step_cost(
      {.batch = 8, .parameters = 100, .buckets = 2, .last_bucket_bytes = 92, .ranks = 4});
  EXPECT_DOUBLE_EQ(step.wire, all_reduce_wire(92 + 8, 4));
  EXPECT_DOUBLE_EQ(step.wire_later, all_reduce_wire(400 - 92, 4));
  const MachineRates links = {.flop = 1, .bandwidth = 10, .bandwidth_later = 5};
  EXPECT_DOUBLE_EQ(predicted_time(step, links, 4).bandwidth, 15 + 308 * 1.5 / 5);
  const PhaseCost cost = {.flop = 200, .read = 30, .bytes = 0, .messages = 3, .wire = 50};
  const MachineRates rates = {.flop = 100, .latency = 7, .bandwidth = 10};
  EXPECT_DOUBLE_EQ(predicted_time(cost, rates, 1).total(), 2);
  auto files = rates;
  files.disk = 10;
  const auto all = predicted_time(cost, files, 4);
  EXPECT_DOUBLE_EQ(all.total(), 2 + 3 + 3 * 7 * 2 + 5);
  EXPECT_DOUBLE_EQ(all.communication(), 3 * 7 * 2 + 5);
  EXPECT_EQ(all.most(), "latency");
}

}  // namespace
}  // namespace eigenscale
