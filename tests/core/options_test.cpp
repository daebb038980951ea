#include "eigenscale/core/options.h"

#include <cstdlib>
#include <fstream>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

namespace po = boost::program_options;

ProgramOptions example() {
  ProgramOptions options("eigenscale-example", "an example");
  options.group("Model")("batch-size", po::value<std::int64_t>()->default_value(8), "rows")(
      "rate", po::value<double>()->default_value(0.5), "rate")(
      "overwrite", po::bool_switch(), "overwrite")("trace", po::bool_switch(), "trace");
  return options;
}

template <typename... Arguments>
void parse(ProgramOptions& options, Arguments... arguments) {
  const char* argv[] = {"program", arguments...};
  options.parse(1 + sizeof...(arguments), argv);
}

TEST(ProgramOptions, CommandLineOverEnvironmentOverFileOverDefault) {
  const test::SharedDirectory directory;
  const auto file = (directory.path() / "run.ini").string();
  std::ofstream(file) << "batch-size=16\nrate=0.25\nseed=9\n";
  const std::string config = "--config=" + file;

  auto options = example();
  parse(options, config.c_str());
  EXPECT_EQ(options.get<std::int64_t>("batch-size"), 16);

  ::setenv("EIGENSCALE_BATCH_SIZE", "32", 1);
  ::setenv("EIGENSCALE_UNRELATED", "x", 1);
  auto with_environment = example();
  parse(with_environment, config.c_str());
  EXPECT_EQ(with_environment.get<std::int64_t>("batch-size"), 32);
  EXPECT_EQ(with_environment.get<double>("rate"), 0.25);

  auto with_both = example();
  parse(with_both, config.c_str(), "--batch-size=64");
  EXPECT_EQ(with_both.get<std::int64_t>("batch-size"), 64);
  ::unsetenv("EIGENSCALE_BATCH_SIZE");
}

TEST(ProgramOptions, RefusesWhatItDoesNotKnow) {
  auto unknown = example();
  EXPECT_THROW(parse(unknown, "--bach-size=1"), OptionError);
  auto abbreviated = example();
  EXPECT_THROW(parse(abbreviated, "--batch=1"), OptionError);
  auto malformed = example();
  EXPECT_THROW(parse(malformed, "--batch-size=many"), OptionError);
  auto positional = example();
  EXPECT_THROW(parse(positional, "data.npy"), OptionError);

  const test::SharedDirectory directory;
  const auto file = (directory.path() / "run.ini").string();
  std::ofstream(file) << "bach-size=16\n";
  auto key = example();
  EXPECT_THROW(parse(key, "--config", file.c_str()), OptionError);
  auto missing = example();
  EXPECT_THROW(parse(missing, "--config", "/no/such/file.ini"), OptionError);
}

TEST(ProgramOptions, EffectiveConfigurationReadsBack) {
  auto options = example();
  parse(options, "--rate=0.1", "--overwrite", "--trace");
  const test::SharedDirectory directory;
  const auto file = (directory.path() / "run.ini").string();
  std::ofstream(file) << options.configuration();
  auto again = example();
  parse(again, "--config", file.c_str());
  EXPECT_EQ(again.get<double>("rate"), 0.1);
  EXPECT_TRUE(again.get<bool>("trace"));
  EXPECT_FALSE(again.get<bool>("overwrite"));  // or a repetition would remove the run
  EXPECT_EQ(again.configuration(), options.configuration());
}

}  // namespace
}  // namespace eigenscale
