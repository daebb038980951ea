#include "eigenscale/bench/whitening_cost.h"

#include "eigenscale/core/row_partition.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/data/row_provider.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/spectral/streamed_covariance.h"
#include "eigenscale/spectral/whitening_fit.h"
#include "eigenscale/spectral/whitening_rows.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

/// What the rank with most hands to collectives between marks.
class Counts {
 public:
  struct Counted {
    double bytes = 0;
    double messages = 0;
  };

  /// [local] What this rank did since the last mark belongs to `name`.
  void mark(const std::string& name) {
    auto now = counters();
    own_[name].bytes +=
        static_cast<double>(now["communication.bytes"] - before_["communication.bytes"]);
    own_[name].messages +=
        static_cast<double>(now["communication.calls"] - before_["communication.calls"]);
    before_ = std::move(now);
  }
  /// [collective]
  Counted most(const std::string& name) {
    return {all_reduce(world(), own_[name].bytes, ReduceOp::kMax),
            all_reduce(world(), own_[name].messages, ReduceOp::kMax)};
  }

 private:
  std::map<std::string, std::int64_t> before_ = counters();
  std::map<std::string, Counted> own_;
};

void expect_equal(const Counts::Counted& counted, const PhaseCost& cost) {
  EXPECT_EQ(counted.bytes, cost.bytes);
  EXPECT_EQ(counted.messages, cost.messages);
}

/// Rows that fall into several pieces on every rank, the last a shorter one.
class WhiteningCostTest : public testing::Test {
 protected:
  static constexpr std::int64_t kSamples = 2400;
  static constexpr std::int64_t kFeatures = 96;
  static constexpr std::int64_t kPieceRows = 330;
  static constexpr std::int64_t kComponents = 20;

  void SetUp() override {
    const auto [columns, rows] = ProcessGrid::squarest(world().size());
    grid_ = std::make_shared<const ProcessGrid>(world(), rows, columns);
    torch::manual_seed(1 + world().rank());
    const auto own = RowPartition(kSamples, world().size()).range(world().rank());
    rows_.emplace(torch::rand({own.size(), kFeatures}, torch::kFloat64));
    stream_.emplace(world(), *rows_,
                    RowStreamOptions{.type = torch::kFloat64,
                                     .piece_bytes = kPieceRows * kFeatures * 8,
                                     .read_ahead = false});
    problem_ = {.samples = kSamples,
                .features = kFeatures,
                .components = kComponents,
                .ranks = world().size(),
                .value_bytes = 8,
                .piece_rows = kPieceRows};
  }

  void apply(const WhiteningFit& fit, const torch::Tensor& mean) const {
    stream_->for_each_piece([&](const RowPiece& piece) { fit.map->apply(piece.rows - mean); });
  }

  /// Marks each phase of the fit by its name, and what comes before the first as "before".
  WhiteningFit fit(const RowStream& stream, const torch::Tensor& mean,
                   const WhiteningOptions& options, torch::ScalarType type, Counts& counts) const {
    std::string phase = "before";
    const WhiteningEvents events = {.phase =
                                        [&](const std::string& next) {
                                          counts.mark(phase);
                                          phase = next;
                                        },
                                    .progress = [](const RowPiece&) {}};
    auto result = fit_exact(world(), stream, mean, grid_, options, type, events);
    counts.mark(phase);
    return result;
  }

  std::shared_ptr<const ProcessGrid> grid_;
  std::optional<MemoryRows> rows_;
  std::optional<RowStream> stream_;
  WhiteningProblem problem_;
};

TEST_F(WhiteningCostTest, CountsTheCovariancesWayExactly) {
  for (const auto method : {WhiteningMethod::kZca, WhiteningMethod::kPca}) {
    problem_.zca = method == WhiteningMethod::kZca;
    Counts counts;
    const auto mean = feature_moments(world(), *stream_).mean;
    counts.mark("mean");
    const auto found =
        fit(*stream_, mean, {.method = method, .components = kComponents, .epsilon = 0.1},
            torch::kFloat64, counts);
    apply(found, mean);
    counts.mark("transform");
    problem_.one_rank = found.transform.solver.find("on one rank") != std::string::npos;
    expect_equal(counts.most("mean"), whitening_mean_cost(problem_));
    expect_equal(counts.most("covariance"), whitening_covariance_cost(problem_));
    expect_equal(counts.most("eigenproblem"), whitening_eigenproblem_cost(problem_));
    expect_equal(counts.most("transform"), whitening_application_cost(problem_));
  }
}

/// Of two ranks one solves the second and the third, which asks for memory before; ELPA finds all
/// pairs of the last where 40 are wanted.
TEST_F(WhiteningCostTest, CountsTheWaysOfAnEigenproblemExactly) {
  for (const auto& [features, components] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {512, 40}, {512, 20}, {1472, 4}, {96, 40}}) {
    if (features > 1000 && world().size() > 2) {
      continue;  // no rank would solve it alone
    }
    // Where the fit would have summed it.
    const bool there = sums_whole(kSamples, features, world().size()) &&
                       first_rank_solves(features, EigenRange::largest(components), world());
    const auto layout =
        there ? one_block(features, grid_) : feature_layout(features, features, grid_);
    auto covariance = DistributedMatrix::zeros(layout, torch::kFloat64);
    const auto diagonal = own_diagonal(layout);
    covariance.local().index_put_({diagonal.rows, diagonal.columns},
                                  1 + diagonal.indices.to(torch::kFloat64));
    Counts counts;
    const auto transform =
        whitening_transform(covariance, {.components = components, .epsilon = 0.1});
    dense_map(world(), transform.matrix, /*symmetric=*/true, kSamples, torch::kFloat64);
    counts.mark("eigenproblem");
    problem_.features = features;
    problem_.components = components;
    problem_.one_rank = transform.solver.find("on one rank") != std::string::npos;
    EXPECT_EQ(problem_.one_rank, world().size() == 2 && components * 20 <= features);
    SCOPED_TRACE(transform.solver);
    expect_equal(counts.most("eigenproblem"), whitening_eigenproblem_cost(problem_));
  }
}

TEST_F(WhiteningCostTest, CountsACovarianceOfFloatsExactly) {
  const auto mean = feature_moments(world(), *stream_).mean;
  Counts counts;
  const auto found =
      fit(*stream_, mean, {.epsilon = 0.1, .products = torch::kFloat32}, torch::kFloat32, counts);
  EXPECT_EQ(found.covariance_products, torch::kFloat32);
  problem_.value_bytes = 4;
  expect_equal(counts.most("covariance"), whitening_covariance_cost(problem_));
}

/// Of two ranks the first gets the whole sum of 512 features, of which it finds 20 pairs, and not
/// that of which 40 are wanted.
TEST_F(WhiteningCostTest, CountsTheSumOnTheFirstRankExactly) {
  problem_.features = 512;
  problem_.piece_rows = whitening_piece_rows(512, 8, false);
  const auto own = RowPartition(kSamples, world().size()).range(world().rank());
  const MemoryRows rows(torch::rand({own.size(), 512}, torch::kFloat64));
  const RowStream stream(world(), rows,
                         {.type = torch::kFloat64, .piece_bytes = kWhiteningPieceBytes});
  const auto mean = feature_moments(world(), stream).mean;
  for (const std::int64_t components : {20, 40}) {
    problem_.components = components;
    Counts counts;
    const auto found =
        fit(stream, mean, {.components = components, .epsilon = 0.1}, torch::kFloat64, counts);
    problem_.zca = true;
    problem_.one_rank = found.transform.solver.find("on one rank") != std::string::npos;
    EXPECT_EQ(problem_.one_rank, world().size() == 2 && components == 20);
    expect_equal(counts.most("covariance"), whitening_covariance_cost(problem_));
    expect_equal(counts.most("eigenproblem"), whitening_eigenproblem_cost(problem_));
  }
}

TEST_F(WhiteningCostTest, CountsTheWayWithoutCovarianceExactly) {
  for (const auto method : {WhiteningMethod::kZca, WhiteningMethod::kPca}) {
    problem_.zca = method == WhiteningMethod::kZca;
    const auto mean = feature_moments(world(), *stream_).mean;
    Counts counts;
    const auto fit = fit_randomized(
        world(), *stream_, mean, grid_,
        {.method = method, .components = kComponents, .epsilon = 0.1, .passes = 3}, torch::kFloat64,
        1, {.phase = [](const std::string&) {}, .progress = [](const RowPiece&) {}});
    counts.mark("components");
    apply(fit, mean);
    counts.mark("transform");
    EXPECT_THAT(fit.transform.solver, testing::HasSubstr("3 passes"));
    // How many rounds there were rounding decides; bytes and messages must agree on it.
    const auto counted = counts.most("components");
    KrylovProblem krylov = {.whitening = problem_, .width = kComponents + 10, .passes = 3};
    krylov.rounds = 1;
    while (krylov.rounds < 6 && krylov_components_cost(krylov).messages < counted.messages) {
      ++krylov.rounds;
    }
    expect_equal(counted, krylov_components_cost(krylov));
    expect_equal(counts.most("transform"), krylov_application_cost(problem_));
  }
}

TEST_F(WhiteningCostTest, WorkIsShared) {
  auto one = problem_;
  one.ranks = 1;
  auto four = problem_;
  four.ranks = 4;
  for (const auto& cost :
       {whitening_mean_cost, whitening_covariance_cost, whitening_eigenproblem_cost,
        whitening_application_cost, krylov_application_cost}) {
    EXPECT_DOUBLE_EQ(cost(four).flop * 4, cost(one).flop);
    EXPECT_EQ(cost(one).wire, 0);
    EXPECT_GT(cost(four).wire, 0);
    EXPECT_LE(cost(four).memory, cost(one).memory);
  }
}

}  // namespace
}  // namespace eigenscale
