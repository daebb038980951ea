#include "eigenscale/report/scaling_study.h"

#include <fstream>

#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/scaling_report.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using testing::HasSubstr;

nlohmann::json run_line(const std::string& mode, int ranks, double seconds) {
  return {{"schema_version", 1},
          {"program", "eigenscale-cluster"},
          {"mode", mode},
          {"machine", "here"},
          {"commit", "abc"},
          {"ranks", ranks},
          {"hosts", 1},
          {"threads", 1},
          {"options", {"--clusters", "3"}},
          {"seconds", {{"total", seconds}, {"read", seconds / 4}}},
          {"communication",
           {{"total", {{"seconds", 0.5}, {"bytes", 2e6}, {"calls", 7}}},
            {"read", {{"seconds", 0.375}, {"bytes", 1e6}, {"calls", 3}}}}},
          {"peak_memory_bytes", {{"max_rank", 1048576 * 100 / ranks}}}};
}

std::string text_of(const std::vector<nlohmann::json>& lines) {
  std::string text;
  for (const auto& line : lines) {
    text += line.dump() + "\n";
  }
  return text;
}

/// Every rank in a folder of its own: reading a study is local.
class ScalingStudyTest : public testing::Test {
 protected:
  ScalingStudy read(const std::string& text) {
    write_file(path(), text);
    return read_study(path());
  }
  std::string message(const std::string& text) {
    try {
      read(text);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  std::filesystem::path directory() const {
    return shared_.path() / std::to_string(test::world().rank());
  }
  std::filesystem::path path() const { return directory() / "study.jsonl"; }
  void SetUp() override { std::filesystem::create_directories(directory()); }

  test::SharedDirectory shared_;
};

TEST_F(ScalingStudyTest, StrongEfficiencyIsOfTheMedians) {
  const auto study = read(text_of({run_line("strong", 4, 3.0), run_line("strong", 2, 10.0),
                                   run_line("strong", 2, 8.0), run_line("strong", 2, 12.0),
                                   run_line("strong", 4, 4.0), run_line("strong", 4, 5.0)}));
  ASSERT_EQ(study.points.size(), 2);
  const auto& four = study.points[1];
  EXPECT_EQ(four.ranks, 4);
  EXPECT_EQ(four.repeats, 3);
  EXPECT_DOUBLE_EQ(four.total.median, 4.0);
  EXPECT_DOUBLE_EQ(four.total.least, 3.0);
  EXPECT_DOUBLE_EQ(four.total.most, 5.0);
  EXPECT_DOUBLE_EQ(study.speed_up(four, 4.0), 2.5);
  EXPECT_DOUBLE_EQ(study.efficiency(four, 4.0), 1.25);
  EXPECT_DOUBLE_EQ(four.phases.at("read").seconds.median, 1.0);
  EXPECT_DOUBLE_EQ(four.phases.at("read").communication.median, 0.375);
  EXPECT_DOUBLE_EQ(four.bytes.median, 2e6);
}

TEST_F(ScalingStudyTest, WeakEfficiencyIsTheRatioOfTimes) {
  const auto study = read(text_of({run_line("weak", 1, 10.0), run_line("weak", 4, 12.5)}));
  EXPECT_DOUBLE_EQ(study.efficiency(study.points[1], 12.5), 0.8);
  EXPECT_DOUBLE_EQ(study.speed_up(study.points[1], 12.5), 3.2);
}

TEST_F(ScalingStudyTest, SaysWhichLineIsWrong) {
  const auto good = run_line("strong", 1, 1.0).dump() + "\n";
  EXPECT_THAT(message(""), HasSubstr("holds no run"));
  EXPECT_THAT(message(good + "{"), HasSubstr("line 2"));
  EXPECT_THAT(message(good + "{}"), HasSubstr("line 2: has no schema_version"));
  EXPECT_THAT(message(good + run_line("weak", 1, 1.0).dump()), HasSubstr("mode is \"weak\""));
  EXPECT_THAT(message(run_line("strong", 1, 0).dump()), HasSubstr("a positive total"));
  auto newer = run_line("strong", 1, 1.0);
  newer["schema_version"] = 2;
  EXPECT_THAT(message(newer.dump()), HasSubstr("schema_version is 2; expected 1"));
  EXPECT_THROW(read_study(directory() / "none"), InputError);
}

TEST_F(ScalingStudyTest, SaysWhichFieldIsWrong) {
  const std::vector<std::pair<std::string, nlohmann::json>> wrong = {
      {"/program", 3},
      {"/mode", "sideways"},
      {"/ranks", 0},
      {"/ranks", 18446744073709551615U},
      {"/ranks", "two"},
      {"/hosts", 1e300},
      {"/hosts", "one"},
      {"/threads", 1.5},
      {"/threads", -1},
      {"/machine", nullptr},
      {"/commit", {1}},
      {"/options", "--clusters 3"},
      {"/options", {"--clusters", 3}},
      {"/seconds", {1, 2}},
      {"/seconds/total", "10"},
      {"/seconds/read", {1}},
      {"/communication", {7}},
      {"/communication/read", 7},
      {"/communication/total/bytes", "many"},
      {"/peak_memory_bytes", 4096},
      {"/peak_memory_bytes/max_rank", -1}};
  const auto good = run_line("strong", 1, 1.0);
  for (const auto& [pointer, value] : wrong) {
    auto line = good;
    line[nlohmann::json::json_pointer(pointer)] = value;
    const auto field = pointer.substr(1, pointer.find('/', 1) - 1);
    EXPECT_THAT(message(good.dump() + "\n" + line.dump()),
                testing::AllOf(HasSubstr(path().string()), HasSubstr("line 2: " + field + " is "),
                               HasSubstr("; expected ")))
        << pointer << " " << value;
  }
}

TEST_F(ScalingStudyTest, ReportSaysBaseRangeAndReference) {
  EXPECT_FALSE(is_study(directory()));
  auto other = run_line("strong", 1, 2.0);
  other["machine"] = "there";
  write_file(directory() / "other.jsonl", other.dump() + "\n");
  read(text_of({run_line("strong", 1, 10.0), run_line("strong", 2, 6.25)}));
  EXPECT_TRUE(is_study(directory()));
  EXPECT_THAT(report_study(directory(), (directory() / "other.jsonl").string()), HasSubstr("0.80"));
  std::ifstream file(directory() / "report.html");
  const std::string html(std::istreambuf_iterator<char>(file), {});
  for (const char* text : {"Efficiency", "The base is 1 rank: 10 s", "Time by phase",
                           "there at abc", "6.25 (6.25 to 6.25)", "three are the least",
                           "read: in collectives", "0.375 (0.375 to 0.375)"}) {
    EXPECT_THAT(html, HasSubstr(text));
  }
  other["program"] = "eigenscale-train";
  write_file(directory() / "other.jsonl", other.dump() + "\n");
  EXPECT_THROW(report_study(directory(), (directory() / "other.jsonl").string()), InputError);
}

}  // namespace
}  // namespace eigenscale
