#include "eigenscale/core/options.h"

#include <cstdlib>
#include <fstream>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

ProgramOptions example() {
  ProgramOptions options("eigenscale-example", "an example", ProgramOptions::Output::kRun);
  options.group("Model")("batch-size", whole(1)->default_value(8), "rows")(
      "rate", real(0)->default_value(0.5), "rate")("share", above(0, 1), "share")(
      "norm", one_of({"l1", "l2", "max"}), "norm")("grid", text(), "grid")("data", texts(), "data");
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

/// What is said of the options `arguments`; empty when they are taken.
template <typename... Arguments>
std::string complaint(Arguments... arguments) {
  auto options = example();
  try {
    parse(options, arguments...);
  } catch (const OptionError& error) {
    return error.what();
  }
  return "";
}

TEST(ProgramOptions, NamesANumberOutOfRange) {
  for (const char* value : {"0", "-1", "9223372036854775807", "1e3", "nan", ""}) {
    EXPECT_THAT(complaint("--batch-size", value), testing::HasSubstr("--batch-size")) << value;
  }
  for (const char* value : {"-0.1", "nan", "inf", "-inf", "1e308", ""}) {
    EXPECT_THAT(complaint("--rate", value), testing::HasSubstr("--rate")) << value;
  }
  for (const char* value : {"0", "1.01", "nan"}) {
    EXPECT_THAT(complaint("--share", value), testing::HasSubstr("more than 0 and at most 1"));
  }
  EXPECT_THAT(complaint("--norm", "l3"), testing::HasSubstr("expected l1, l2 or max"));
  EXPECT_EQ(complaint("--share", "1", "--rate", "0", "--batch-size", "1", "--norm", "l2"), "");
  EXPECT_EQ(complaint("--seed", "-9223372036854775808"), "");
}

TEST(ProgramOptions, ReadsSizesThatCanBeCounted) {
  auto options = example();
  parse(options, "--grid", "2x3");
  EXPECT_EQ(options.numbers("grid", 'x', "a grid", 2), (std::vector<std::int64_t>{2, 3}));
  for (const char* grid : {"4294967298x1", "2x0", "2x", "x2", "2x2x2", "2", "-1x1", "2x2 "}) {
    auto wrong = example();
    parse(wrong, "--grid", grid);
    EXPECT_THROW(wrong.numbers("grid", 'x', "a grid", 2), OptionError) << grid;
  }
  auto huge = example();
  parse(huge, "--grid", "2147483647x2147483647x2147483647");
  EXPECT_THROW(huge.numbers("grid", 'x', "a shape"), OptionError);
}

TEST(ProgramOptions, ReadsNamedNumbersThatAreFinite) {
  auto options = example();
  parse(options, "--grid", "conv1=0.5,linear*=2e0,last=0");
  EXPECT_EQ(options.named_numbers("grid", 0), (std::vector<std::pair<std::string, double>>{
                                                  {"conv1", 0.5}, {"linear*", 2}, {"last", 0}}));
  for (const std::string pair :
       {"conv1=1e999", "conv1=-1e999", "conv1=1e39", "conv1=nan", "conv1=-nan", "conv1=inf",
        "conv1=-inf", "conv1=infinity", "conv1=1e-999", "conv1=-0.1", "conv1=", "conv1=1x",
        "conv1= 1", "conv1=0x10", "conv1=1=2", "conv1", "=1", ""}) {
    auto wrong = example();
    const std::string value = "linear=1," + pair + ",last=2";
    parse(wrong, "--grid", value.c_str());
    try {
      wrong.named_numbers("grid", 0);
      ADD_FAILURE() << value << " was taken";
    } catch (const OptionError& error) {
      EXPECT_EQ(error.what(), "--grid has '" + pair +
                                  "'; expected NAME=NUMBER of at least 0 and at most 3.40282e+38");
    }
  }
}

TEST(ProgramOptions, AnEmptyValueOfASwitchIsAnError) {
  ::setenv("EIGENSCALE_OVERWRITE", "", 1);
  EXPECT_THAT(complaint("--seed=1"), testing::HasSubstr("overwrite"));
  ::setenv("EIGENSCALE_OVERWRITE", "no", 1);
  EXPECT_EQ(complaint("--seed=1"), "");
  ::unsetenv("EIGENSCALE_OVERWRITE");
  EXPECT_THAT(complaint("--output="), testing::HasSubstr("output"));

  const test::SharedDirectory directory;
  const auto file = (directory.path() / "run.ini").string();
  std::ofstream(file) << "overwrite=\n";
  EXPECT_THAT(complaint("--config", file.c_str()), testing::HasSubstr("overwrite"));
}

TEST(ProgramOptions, TakesArgumentsWithoutANameWhereTheyHaveOne) {
  auto options = example();
  options.name_positional("data");
  parse(options, "a.npy", "--seed", "2", "b.npy");
  EXPECT_EQ(options.get<std::vector<std::string>>("data"),
            (std::vector<std::string>{"a.npy", "b.npy"}));
}

TEST(ProgramOptions, AnyValueIsRepeatedByTheEffectiveConfiguration) {
  const test::SharedDirectory directory;
  const auto file = (directory.path() / "run.ini").string();
  for (const std::string value :
       {"a#b", " # a", "a # b", "line\nend", " ends with space ", "\"quoted\"", "back\\slash",
        "tab\t", "[section]", "a=b", "\xef\xbb\xbf", "\r"}) {
    auto options = example();
    parse(options, "--output", value.c_str(), "--data", value.c_str(), "--data", "second");
    std::ofstream(file) << options.configuration();
    auto again = example();
    parse(again, "--config", file.c_str());
    EXPECT_EQ(again.get<std::string>("output"), value);
    EXPECT_EQ(again.configuration(), options.configuration());
  }
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
