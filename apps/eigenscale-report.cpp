// The summaries of several finished runs side by side, the report of a scaling study, or what a
// phase would cost on more ranks.
#include <algorithm>
#include <sstream>

#include "eigenscale/bench/prediction.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/report/program.h"
#include "eigenscale/report/run_comparison.h"
#include "eigenscale/report/scaling_report.h"

namespace {

using namespace eigenscale;

/// What is asked for: a prediction, or a report of these directories.
struct ReportOptions {
  std::vector<std::filesystem::path> directories;
  std::string reference;
  std::optional<PredictionOptions> prediction;
};

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-report",
                         "compares finished runs, draws a scaling study: eigenscale-report DIR...");
  options.group("Runs")
      ("run", texts(), "directory of a finished run, or of a study; --run may be left out; studies that "
       "differ in the number of samples are drawn as one, into --output")
      ("reference", text(), "study.jsonl of another machine or commit, drawn beside the study");
  options.group("Prediction (docs/cost-model.md)")
      ("predict", text(), "train-step, self-expression, subspaces or whiten: its cost on more ranks")
      ("size", text(), "of the problem, such as 20000x200")
      ("ranks", text(), "numbers of ranks, such as 1,2,4")
      ("rates", text(), "files of lines of eigenscale-bench, with commas between; for whiten also study.jsonl "
       "or directories of runs")
      ("disk", real(0)->default_value(0), "bytes a second of a rank at its files; 0: rows lie in memory, or as the runs show");
  options.name_positional("run");
  return options;
}
// clang-format on

PredictionOptions prediction(const ProgramOptions& options) {
  PredictionOptions result;
  result.phase = options.get<std::string>("predict");
  result.size = options.numbers("size", 'x', "numbers such as 1000x200");
  result.ranks = options.numbers("ranks", ',', "numbers such as 1,2,4");
  std::istringstream list(options.get<std::string>("rates"));
  for (std::string path; std::getline(list, path, ',');) {
    result.rates.emplace_back(path);
  }
  result.disk = options.get<double>("disk");
  result.validate();
  return result;
}

ReportOptions read_report(const ProgramOptions& options) {
  ReportOptions result;
  if (options.has("predict")) {
    result.prediction = prediction(options);
    return result;
  }
  std::vector<std::string> names;
  options.read("run", names);
  if (names.empty()) {
    throw OptionError("eigenscale-report needs the directories of one or more runs");
  }
  result.directories.assign(names.begin(), names.end());
  options.read("reference", result.reference);
  return result;
}

ExitCode report(const Communicator& world, const RunOptions& run, const ReportOptions& options) {
  std::string table;
  std::string name = "comparison.txt";
  if (options.prediction) {
    name = "prediction.txt";
    on_all_ranks(world, [&] { table = predict(*options.prediction); });
  } else if (std::ranges::all_of(options.directories, is_study)) {
    name = "study.txt";
    on_first_rank(world, [&] {
      if (options.directories.size() > 1 && run.output.empty()) {
        throw OptionError("several studies need --output, a folder for the report of all");
      }
      table =
          report_studies(options.directories, options.reference,
                         options.directories.size() > 1 ? run.output : options.directories.front());
    });
  } else {
    on_all_ranks(world, [&] { table = compare_runs(options.directories); });
  }
  print_text(world, run, name, table);
  return ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, read_report, report);
}
