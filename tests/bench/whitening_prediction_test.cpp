#include "eigenscale/bench/whitening_prediction.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "eigenscale/bench/prediction.h"
#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kSamples = 40000;
constexpr std::int64_t kFeatures = 1000;

/// A line of a study whose run took this long.
nlohmann::json run_line(std::int64_t ranks, double factor = 1) {
  return {{"schema_version", 1},
          {"program", "eigenscale-whiten"},
          {"ranks", ranks},
          {"seconds",
           {{"total", 9 * factor},
            {"mean", 0.25 * factor},
            {"covariance", 2.5 * factor},
            {"eigenproblem", 0.5 * factor},
            {"transform", 4 * factor},
            {"read", 1.25 * factor},
            {"write", 0.5 * factor}}},
          {"choices",
           {{"method", "zca"},
            {"solver", "LAPACK"},
            {"samples", kSamples},
            {"features", kFeatures},
            {"components", kFeatures},
            {"covariance", "float"},
            {"product", "float"},
            {"precision", "float"}}}};
}

nlohmann::json reduction(const std::string& name, double bytes, double seconds) {
  return {{"schema_version", 1}, {"suite", "allreduce"}, {"contender", name},
          {"ranks", 2},          {"seconds", seconds},   {"bytes", bytes}};
}

class WhiteningPredictionTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(directory()); }
  std::filesystem::path directory() const {
    return shared_.path() / std::to_string(test::world().rank());
  }
  std::filesystem::path write(const std::string& name, const std::vector<nlohmann::json>& lines) {
    std::ofstream file(directory() / name);
    for (const auto& line : lines) {
      file << line.dump() << "\n";
    }
    return directory() / name;
  }
  /// A collective of two takes 10 us and 1 byte a nanosecond.
  std::filesystem::path links() {
    std::vector<nlohmann::json> lines;
    for (const char* name : {"all_reduce", "start_all_reduce"}) {
      lines.push_back(reduction(name, 0, 1e-5));
      lines.push_back(reduction(name, 1e9, 1 + 1e-5));
    }
    return write("links.jsonl", lines);
  }
  /// The words of the row of a phase, on so many ranks.
  static std::vector<std::string> row(const std::string& table, std::int64_t ranks,
                                      const std::string& phase) {
    std::istringstream lines(table);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::vector<std::string> row{std::istream_iterator<std::string>(words), {}};
      if (row.size() > 2 && row[0] == std::to_string(ranks) && row[1] == phase) {
        return row;
      }
    }
    return {"none", phase, "-1", "-1", "-1", "-1", "-1"};
  }
  static double seconds(const std::string& table, std::int64_t ranks, const std::string& phase) {
    return std::stod(row(table, ranks, phase)[2]);
  }
  /// Without communication.
  static double computed(const std::string& table, std::int64_t ranks, const std::string& phase) {
    const auto columns = row(table, ranks, phase);
    return std::stod(columns[3]) + std::stod(columns[5]);
  }

  test::SharedDirectory shared_;
};

TEST_F(WhiteningPredictionTest, ARunPredictsItself) {
  // The others are the same again, slower, and on more ranks.
  const auto study =
      write("study.jsonl", {run_line(1), run_line(1, 1.5), run_line(1, 0.5), run_line(2, 100)});
  const auto text =
      predict({.phase = "whiten", .size = {kSamples, kFeatures}, .ranks = {1}, .rates = {study}});
  EXPECT_THAT(text, HasSubstr("from 3 runs on 1 rank"));
  for (const auto& [phase, spent] : run_line(1)["seconds"].items()) {
    EXPECT_DOUBLE_EQ(seconds(text, 1, phase), spent.get<double>()) << phase;
  }
}

TEST_F(WhiteningPredictionTest, TimesGrowWithTheSamplesAndFallWithTheRanks) {
  const auto study = write("study.jsonl", {run_line(1)});
  const auto four = predict(
      {.phase = "whiten", .size = {4 * kSamples, kFeatures}, .ranks = {1}, .rates = {study}});
  const auto two = predict({.phase = "whiten",
                            .size = {kSamples, kFeatures},
                            .ranks = {1, 2},
                            .rates = {study, links()}});
  for (const char* phase : {"mean", "covariance", "transform", "read"}) {
    const double one = run_line(1)["seconds"][phase].get<double>();
    EXPECT_DOUBLE_EQ(seconds(four, 1, phase), 4 * one) << phase;
    EXPECT_DOUBLE_EQ(computed(two, 2, phase), one / 2) << phase;
  }
  // Beside the rows, the transform in double: as many bytes as of 2,000 rows.
  EXPECT_NEAR(seconds(four, 1, "write"), 0.5 * 162 / 42, 1e-3);
  // Both ranks write one file, in turns.
  EXPECT_DOUBLE_EQ(computed(two, 2, "write"), 0.5);
  // One rank solves: 10/3 of 13/3 of the work gain 1.5 of two cores.
  EXPECT_DOUBLE_EQ(seconds(four, 1, "eigenproblem"), 0.5);
  EXPECT_NEAR(computed(two, 2, "eigenproblem"), 0.5 * (10 / 1.5 + 3 / 2.0) / 13, 1e-4);
  // What the covariance sends: a triangle of D x D doubles, in strips of 256 rows, to the rank that
  // solves.
  const auto covariance =
      whitening_costs({.samples = kSamples, .features = kFeatures, .ranks = 2}, {})[1].cost;
  const auto columns = row(two, 2, "covariance");
  EXPECT_NEAR(std::stod(columns[4]), 1e-5 * covariance.messages + 1e-9 * covariance.wire,
              1e-3 * covariance.wire * 1e-9);
  EXPECT_NEAR(covariance.wire, 4.0 * kFeatures * (kFeatures + 256), 1e5);
  EXPECT_EQ(columns.back(), "computation");
}

TEST_F(WhiteningPredictionTest, RanksKeepWhatTheyKeptInCompany) {
  // Two ranks took as long as one, but for the covariance (.8 of the time) and the eigenproblem
  // (.65); a link of which nothing is felt.
  auto together = run_line(2);
  together["seconds"]["covariance"] = 0.8 * 2.5;
  together["seconds"]["eigenproblem"] = 0.65 * 0.5;
  const auto fast =
      write("fast.jsonl",
            {reduction("all_reduce", 0, 1e-12), reduction("all_reduce", 1e9, 1e-12),
             reduction("start_all_reduce", 0, 1e-12), reduction("start_all_reduce", 1e9, 1e-12)});
  const auto text = predict({.phase = "whiten",
                             .size = {2 * kSamples, kFeatures},
                             .ranks = {1, 2, 4},
                             .rates = {write("study.jsonl", {run_line(1), together}), fast}});
  EXPECT_THAT(text, HasSubstr("of which a rank among 2 keeps covariance 0.63"));
  EXPECT_NEAR(seconds(text, 1, "covariance"), 2 * 2.5, 1e-3);
  for (const char* phase : {"mean", "transform", "read"}) {
    const double one = run_line(1)["seconds"][phase].get<double>();
    EXPECT_NEAR(computed(text, 2, phase), 2 * one, 1e-3 * one) << phase;
    EXPECT_NEAR(computed(text, 4, phase), one, 1e-3 * one) << phase;
  }
  EXPECT_NEAR(computed(text, 2, "covariance"), 2 * 0.8 * 2.5, 1e-2);
  EXPECT_NEAR(computed(text, 2, "eigenproblem"), 0.65 * 0.5, 1e-3);
  // Four ranks share the eigenproblem, which two did not.
  EXPECT_NEAR(computed(text, 4, "eigenproblem"), 0.5 / 4, 1e-3);
}

TEST_F(WhiteningPredictionTest, ReadsDirectoriesOfRunsAndTheLinesOfTheSuite) {
  const auto folder = directory() / "run";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "summary.json") << run_line(1).dump(2);
  const PredictionOptions of_run = {
      .phase = "whiten", .size = {kSamples, kFeatures}, .ranks = {1}, .rates = {folder}};
  EXPECT_DOUBLE_EQ(seconds(predict(of_run), 1, "total"), 9);
  auto slow = of_run;
  slow.disk = 1e8;
  EXPECT_DOUBLE_EQ(seconds(predict(slow), 1, "read"), 3 * 4.0 * kSamples * kFeatures / 1e8);

  std::vector<nlohmann::json> lines;
  for (const char* name : {"mean", "covariance of floats", "transform", "application of floats"}) {
    lines.push_back({{"schema_version", 1},
                     {"suite", "whiten"},
                     {"contender", name},
                     {"ranks", 1},
                     {"size", {{"samples", kSamples}, {"features", kFeatures}}},
                     {"seconds", 1}});
  }
  auto of_bench = of_run;
  of_bench.rates = {write("bench.jsonl", lines)};
  EXPECT_DOUBLE_EQ(seconds(predict(of_bench), 1, "total"), 4);
  lines.pop_back();
  of_bench.rates = {write("bench.jsonl", lines)};
  EXPECT_THROW(predict(of_bench), InputError);
}

TEST_F(WhiteningPredictionTest, FewComponentsOfARunGoTheSameWay) {
  auto line = run_line(1);
  line["choices"]["components"] = 20;
  line["choices"]["solver"] = "5 passes of block Krylov, 20 of 1000 components";
  line["choices"].erase("covariance");
  line["seconds"]["components"] = 3;
  line["seconds"].erase("covariance");
  line["seconds"].erase("eigenproblem");
  const auto text = predict({.phase = "whiten",
                             .size = {kSamples, kFeatures, 20},
                             .ranks = {1},
                             .rates = {write("study.jsonl", {line})}});
  EXPECT_THAT(text, HasSubstr("5 passes without the covariance"));
  EXPECT_DOUBLE_EQ(seconds(text, 1, "components"), 3);
  EXPECT_DOUBLE_EQ(seconds(text, 1, "read"), 1.25);
}

TEST_F(WhiteningPredictionTest, WrongOptionsAndDamagedLinesAreErrors) {
  const auto study = write("study.jsonl", {run_line(1)});
  PredictionOptions options = {
      .phase = "whiten", .size = {kSamples}, .ranks = {1}, .rates = {study}};
  EXPECT_THROW(options.validate(), OptionError);
  options.size = {kSamples, 0};
  EXPECT_THROW(options.validate(), OptionError);
  options.size = {kSamples, kFeatures, 7};
  EXPECT_NO_THROW(options.validate());
  auto line = run_line(1);
  line["choices"].erase("features");
  options.rates = {write("damaged.jsonl", {line})};
  EXPECT_THROW(predict(options), InputError);
  line = run_line(1);
  line["seconds"]["total"] = 0;
  options.rates = {write("damaged.jsonl", {line})};
  EXPECT_THROW(predict(options), InputError);
}

TEST(WhiteningPrediction, ReadsRowsInPiecesOfTheWayItGoes) {
  // Rows of 4 MiB: 8 of them in the 32 MiB of a mean and of a covariance, 16 in the 64 MiB of
  // components; each piece is agreed on. Three sums follow the mean.
  const WhiteningSize size = {.samples = 1000, .features = 1 << 20, .components = 5, .ranks = 1};
  const auto messages = [&](const std::string& phase, bool low_rank) {
    const auto costs = whitening_costs(size, {.low_rank = low_rank, .value_bytes = 4});
    return std::ranges::find(costs, phase, &NamedCost::phase)->cost.messages;
  };
  for (const bool low_rank : {false, true}) {
    EXPECT_EQ(messages("mean", low_rank), 125 + 3);
    EXPECT_EQ(messages("transform", low_rank), low_rank ? 63 : 125);
  }
}

}  // namespace
}  // namespace eigenscale
