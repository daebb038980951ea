#include "eigenscale/spectral/whitening_application.h"

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/report/html_report.h"
#include "eigenscale/spectral/finished_whitening.h"
#include "eigenscale/spectral/whitened_rows.h"
#include "eigenscale/spectral/whitening_rows.h"

namespace eigenscale {
namespace {

/// How white the new rows come out: those of the run itself have a mean of 0, and a mean variance
/// of 1 but for what epsilon damps.
class Whiteness {
 public:
  Whiteness(const Placement& placement, std::int64_t width)
      : placement_(placement),
        sums_(torch::zeros({width}, placement.options(torch::kFloat64))),
        squares_(torch::zeros({}, placement.options(torch::kFloat64))) {}

  void add(const torch::Tensor& rows) {
    sums_.add_(rows.sum(0, false, torch::kFloat64));
    squares_.add_(rows.to(torch::kFloat64).square().sum());
  }

  /// [collective]
  nlohmann::json metrics(std::int64_t samples) {
    const auto count = static_cast<double>(samples);
    placement_.data().all_reduce(sums_);
    sums_ = placement_.to_host(sums_, "moments");
    const double squares =
        all_reduce(placement_.control(), placement_.to_host(squares_, "moments").item<double>());
    const auto mean = sums_ / count;
    return {{"largest_mean", mean.abs().max().item<double>()},
            {"mean_variance", (squares / count - mean.square().sum().item<double>()) /
                                  static_cast<double>(mean.numel())}};
  }

 private:
  Placement placement_;
  torch::Tensor sums_;
  torch::Tensor squares_;
};

std::string application_report(const nlohmann::json& summary) {
  const auto& choices = summary["choices"];
  HtmlReport page("eigenscale-whiten", choices["samples"].dump() +
                                           " samples by the transform of '" +
                                           choices["transform_of"].get<std::string>() + "'");
  page.add_figure(choices["features"].dump(), "features");
  page.add_figure(choices["width"].dump(), "numbers of a whitened sample");
  for (const auto& [name, value] : summary["metrics"].items()) {
    page.add_figure(short_number(value.get<double>()), name);
  }
  return page.html();
}

void require_fit(const Communicator& world, const FinishedWhitening& finished,
                 const RowStream& stream, const std::string& data) {
  on_all_ranks(world, [&] {
    if (stream.features() != finished.features()) {
      throw InputError("the rows of '" + data + "' have " + std::to_string(stream.features()) +
                       " numbers, the transform of '" + finished.directory() + "' is of " +
                       std::to_string(finished.features()) + " features");
    }
    if (stream.rows() == 0) {
      throw InputError("'" + data + "' has no samples");
    }
  });
  require_memory(world,
                 MemoryNeed{"a transform of " + count_text(finished.features()) + " features needs",
                            [&](std::int64_t ranks) {
                              return finished.bytes(stream.rows(), ranks) +
                                     static_cast<double>(kWhiteningCopies * kWhiteningPieceBytes);
                            }});
}

}  // namespace

ExitCode run_whitening_application(const Communicator& world, const RunOptions& run_options,
                                   const WhiteningApplicationOptions& options) {
  ProcessGrid::require(world.size());
  Run run(world, run_options);
  const WhiteningFiles files{run, options.format == "h5"};
  run.phase("read");
  const FinishedWhitening finished(world, options.apply);
  const WhiteningRows rows(run.placement(), options.data, finished.scale());
  std::string phase = "read";
  const auto stream =
      rows.stream(rows.type(), [&](bool reading) { run.timers().begin(reading ? "read" : phase); });
  require_fit(world, finished, stream, options.data);
  const auto [columns, process_rows] = ProcessGrid::squarest(world.size());
  const auto grid = std::make_shared<const ProcessGrid>(world, process_rows, columns);
  const auto mean = finished.mean();
  const auto map = finished.map(run.placement(), grid, rows.type(), stream.rows());
  run.claim({.inputs = {options.data, finished.matrix_name(), finished.mean_name()},
             .outputs = {files.file_name("whitened")}});
  log_info("{} samples of {} features by the transform of '{}'", stream.rows(), stream.features(),
           finished.directory());

  phase = "transform";
  run.phase(phase);
  Whiteness whiteness(run.placement(), map->width());
  write_whitened(world, run, files, stream, mean, *map, rows.type(),
                 "the samples are too far from those that the transform was made of",
                 [&](const torch::Tensor& whitened) { whiteness.add(whitened); });
  auto& summary = run.summary();
  summary["metrics"] = whiteness.metrics(stream.rows());
  summary["choices"] = {{"transform_of", finished.directory()},
                        {"samples", stream.rows()},
                        {"features", stream.features()},
                        {"width", map->width()},
                        {"scale", finished.scale()},
                        {"precision", rows.type() == torch::kFloat64 ? "double" : "float"}};
  run.finish(application_report);
  return ExitCode::kDone;
}

}  // namespace eigenscale
