#include "eigenscale/report/scaling_study.h"

#include <fstream>

#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/scaling_pictures.h"
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
      {"/samples", 0},
      {"/samples", 1.5},
      {"/samples", 18446744073709551615U},
      {"/choices", {1}},
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

nlohmann::json run_of(std::int64_t samples, const std::string& mode, int ranks, double seconds) {
  auto line = run_line(mode, ranks, seconds);
  line["samples"] = samples;
  line["choices"] = {{"passes", 2}};
  line["seconds"]["refine"] = seconds / 2;
  line["communication"]["refine"] = {{"seconds", 0.1}, {"bytes", 6000}, {"calls", 9}};
  return line;
}

TEST_F(ScalingStudyTest, AnotherNumberOfSamplesIsAnotherStudy) {
  const auto lines = text_of({run_of(1000, "strong", 2, 3), run_of(100000, "strong", 1, 40),
                              run_of(1000, "strong", 1, 4), run_of(100000, "strong", 2, 22),
                              run_of(1000, "strong", 1, 6)});
  write_file(path(), lines);
  const auto studies = read_studies({path()});
  ASSERT_EQ(studies.size(), 2);
  EXPECT_EQ(studies[0].points[0].samples, 1000);
  EXPECT_EQ(studies[0].points[0].repeats, 2);
  EXPECT_DOUBLE_EQ(studies[0].points[0].total.median, 5);
  EXPECT_DOUBLE_EQ(studies[1].points[0].total.median, 40);
  EXPECT_DOUBLE_EQ(studies[1].points[1].phases.at("refine").bytes.median, 6000);
  EXPECT_THAT(message(lines), HasSubstr("2 numbers of samples"));
  // A weak study grows.
  EXPECT_EQ(read(text_of({run_of(1000, "weak", 1, 4), run_of(2000, "weak", 2, 5)})).points.size(),
            2);
}

TEST_F(ScalingStudyTest, PicturesShowEveryNumberOfSamplesAndRanks) {
  write_file(path(), text_of({run_of(1000, "strong", 1, 4), run_of(1000, "strong", 2, 3)}));
  const auto larger = directory() / "larger";
  std::filesystem::create_directories(larger);
  write_file(larger / "study.jsonl",
             text_of({run_of(100000, "strong", 1, 40), run_of(100000, "strong", 2, 22)}));
  const auto panels = panels_over_samples(read_studies({path(), larger / "study.jsonl"}));
  ASSERT_EQ(panels.size(), 6);
  EXPECT_TRUE(panels[0].options.log_x);
  ASSERT_EQ(panels[0].series.size(), 2);
  EXPECT_EQ(panels[0].series[1].name, "2 ranks");
  EXPECT_THAT(panels[0].series[1].x, testing::ElementsAre(1000, 100000));
  EXPECT_THAT(panels[0].series[1].y, testing::ElementsAre(3, 22));
  EXPECT_EQ(panels[1].series[0].name, "N = 1,000");
  EXPECT_THAT(panels[1].series[0].x, testing::ElementsAre(1, 2));
  EXPECT_THAT(panels[4].series[0].y, testing::ElementsAre(1, 10));  // of two passes
  EXPECT_THAT(panels[5].series[0].y, testing::ElementsAre(3000, 3000));

  const auto both = directory() / "both";
  const auto tables = report_studies({directory(), larger}, "", both);
  EXPECT_THAT(tables, testing::AllOf(HasSubstr("1,000"), HasSubstr("100,000")));
  const auto text = [](const std::filesystem::path& name) {
    std::ifstream file(name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const auto picture = text(both / "scaling.svg");
  EXPECT_TRUE(picture.starts_with("<svg xmlns='http://www.w3.org/2000/svg'"));
  EXPECT_THAT(picture, HasSubstr("eigenscale-cluster, strong scaling"));
  EXPECT_THAT(picture, HasSubstr("pass of refinement"));
  EXPECT_THAT(text(both / "report.html"), HasSubstr("pass of refinement"));
  // Of one N: against the ranks.
  report_studies({directory()}, "", directory());
  EXPECT_THAT(text(directory() / "scaling.svg"),
              testing::AllOf(HasSubstr("N = 1,000"), HasSubstr("Efficiency"),
                             testing::Not(HasSubstr("pass of refinement"))));
}

TEST_F(ScalingStudyTest, ReportSaysBaseRangeAndReference) {
  EXPECT_FALSE(is_study(directory()));
  auto other = run_line("strong", 1, 2.0);
  other["machine"] = "there";
  write_file(directory() / "other.jsonl", other.dump() + "\n");
  read(text_of({run_line("strong", 1, 10.0), run_line("strong", 2, 6.25)}));
  EXPECT_TRUE(is_study(directory()));
  EXPECT_THAT(report_studies({directory()}, (directory() / "other.jsonl").string(), directory()),
              HasSubstr("0.80"));
  std::ifstream file(directory() / "report.html");
  const std::string html(std::istreambuf_iterator<char>(file), {});
  for (const char* text : {"Efficiency", "The base is 1 rank: 10 s", "Time by phase",
                           "there at abc", "6.25 (6.25 to 6.25)", "three are the least",
                           "read: in collectives", "0.375 (0.375 to 0.375)"}) {
    EXPECT_THAT(html, HasSubstr(text));
  }
  other["program"] = "eigenscale-train";
  write_file(directory() / "other.jsonl", other.dump() + "\n");
  EXPECT_THROW(report_studies({directory()}, (directory() / "other.jsonl").string(), directory()),
               InputError);
}

}  // namespace
}  // namespace eigenscale
