#include "eigenscale/bench/bench_run.h"

#include <chrono>
#include <cmath>
#include <map>
#include <thread>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/process_grid.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

const std::map<std::string, Suite::Size> kSmall = {
    {"allreduce", {4000}},         {"eigen", {60, 6}},       {"gemm", {70}},
    {"whiten", {200, 12}},         {"train-step", {32, 16}}, {"self-expression", {50, 8}},
    {"subspaces", {300, 9, 3, 2}}, {"kmeans", {300, 9, 3}},  {"fine-tuning", {400}},
    {"convolution", {1, 4}},       {"whitening-layer", {8}},
};

class EverySuite : public testing::TestWithParam<std::string> {};

TEST_P(EverySuite, IsRightAndSaysAllAboutEveryTurn) {
  if (!ProcessGrid::supports(world().size())) {
    GTEST_SKIP() << "needs ScaLAPACK";
  }
  const auto small = kSmall.find(GetParam());
  ASSERT_NE(small, kSmall.end()) << "a suite without a small size in this test";
  BenchOptions options{.suite = GetParam(),
                       .sizes = {small->second},
                       .repeats = 1,
                       .warm_up = 0,
                       .turn_seconds = 0,
                       .check = true};
  options.validate();
  const auto& suite = find_suite(GetParam());
  const auto contenders = suite.contenders(world(), small->second);
  const auto measured = measure(world(), contenders, options);
  const auto lines =
      bench_lines(bench_frame(world(), suite.name), suite, small->second, contenders, measured);
  ASSERT_EQ(lines.size(), contenders.size());
  for (const auto& line : lines) {
    for (const char* key :
         {"schema_version", "version", "commit", "host", "mpi", "libtorch", "ranks", "threads",
          "suite", "contender", "size", "repeat", "calls", "seconds", "flop", "bytes"}) {
      EXPECT_TRUE(line.contains(key)) << key;
    }
    EXPECT_EQ(line["ranks"], world().size());
    EXPECT_GT(line["seconds"], 0);
    if (line.contains("fraction")) {
      const double own = line["flop"] > 0 ? line["flop"] : line["bytes"];
      EXPECT_NEAR(own / line["seconds"].get<double>(),
                  line["fraction"].get<double>() * line["limit"]["rate"].get<double>(),
                  1e-9 * own / line["seconds"].get<double>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Bench, EverySuite, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& suite : suites()) {
                             names.push_back(suite.name);
                           }
                           return names;
                         }()),
                         [](const auto& test) {
                           auto name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

/// What measuring a contender whose result is off by `error` ends with.
ExitCode code_of(double error, bool check) {
  const std::vector<Contender> contenders = {
      {.name = "own", .work = [] {}, .error = [error] { return error; }, .bound = 0.1}};
  try {
    measure(world(), contenders, {.suite = "", .sizes = {}, .check = check});
  } catch (const Error& error) {
    EXPECT_TRUE(error.agreed());
    return error.exit_code();
  }
  return ExitCode::kDone;
}

TEST(Bench, WrongResultsEndOnAllRanks) {
  EXPECT_EQ(code_of(0.5, true), ExitCode::kNumerical);
  EXPECT_EQ(code_of(std::nan(""), true), ExitCode::kNumerical);
  EXPECT_EQ(code_of(0.05, true), ExitCode::kDone);
  EXPECT_EQ(code_of(0.5, false), ExitCode::kDone);
}

TEST(Bench, TurnsTakeTheSlowestRanksTime) {
  const std::vector<Contender> contenders = {{.name = "slow", .work = [] {
                                                if (world().rank() == world().size() - 1) {
                                                  std::this_thread::sleep_for(
                                                      std::chrono::milliseconds(20));
                                                }
                                              }}};
  const auto measured = measure(world(), contenders, {.suite = "", .sizes = {}, .repeats = 2});
  ASSERT_EQ(measured[0].seconds.size(), 2);
  EXPECT_GE(measured[0].seconds[0], 0.02);
}

TEST(Bench, FractionsCompareRatesOfTheSameTurn) {
  const std::vector<Contender> contenders = {
      {.name = "limit", .work = {}, .flop = 100},
      {.name = "own", .work = {}, .flop = 30, .limit = "limit"}};
  const std::vector<Measurement> measured = {{.seconds = {1, 2}, .error = {}},
                                             {.seconds = {1, 0.5}, .error = {}}};
  EXPECT_DOUBLE_EQ(*fraction_of_limit(contenders, measured, 1, 0), 0.3);
  EXPECT_DOUBLE_EQ(*fraction_of_limit(contenders, measured, 1, 1), 60.0 / 50);
  EXPECT_FALSE(fraction_of_limit(contenders, measured, 0, 0));
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
}

TEST(Bench, OptionsCheckThemselves) {
  const auto message = [](BenchOptions options) -> std::string {
    try {
      options.validate();
    } catch (const OptionError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message({.suite = "nope", .sizes = {}}), testing::HasSubstr("allreduce"));
  EXPECT_THAT(message({.suite = "eigen", .sizes = {{5}}}), testing::HasSubstr("nxvectors"));
  EXPECT_THAT(message({.suite = "gemm", .sizes = {}, .repeats = 0}),
              testing::HasSubstr("--repeats is 0"));
  EXPECT_THAT(message({.suite = "gemm", .sizes = {}, .turn_seconds = std::nan("")}),
              testing::HasSubstr("--turn-seconds"));
  EXPECT_EQ(message({.suite = "gemm", .sizes = {}}), "");
}

}  // namespace
}  // namespace eigenscale
