#include "eigenscale/cluster/assignment_run.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "eigenscale/cluster/clustering_summary.h"
#include "eigenscale/cluster/metrics.h"
#include "eigenscale/cluster/row_labelling.h"
#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/cluster/subspace_report.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/log.h"
#include "eigenscale/data/device_rows.h"
#include "eigenscale/data/label_names.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

ExitCode run_assignment(const Communicator& world, const RunOptions& run_options,
                        const ClusteringRunOptions& options) {
  Run run(world, run_options);
  run.phase("read");
  const auto path = std::filesystem::path(options.assign) / "subspaces.safetensors";
  SubspaceModel model;
  on_all_ranks(world, [&] {
    if (!std::filesystem::exists(path)) {
      throw InputError("'" + options.assign +
                       "' has no subspaces.safetensors; --assign needs a finished run with "
                       "landmarks or --refine subspaces");
    }
    if (!std::filesystem::exists(std::filesystem::path(options.assign) / "summary.json")) {
      throw InputError("the run in '" + options.assign +
                       "' has not finished: it has no summary.json. Finish it before --assign");
    }
    model = load_subspace_model(path);
  });
  const auto source = open_sample_sources(world, options.data);
  const RowPartition partition(source->rows(), world.size());
  const RowRange own = partition.range(world.rank());
  const FileRows raw(*source, own, model.scale);
  on_all_ranks(world, [&] {
    if (raw.features() != model.row_width()) {
      throw InputError("the rows of '" + options.data_name() + "' have " +
                       std::to_string(raw.features()) + " numbers, those that the model '" +
                       path.string() + "' was made of " + std::to_string(model.row_width()));
    }
  });
  std::optional<torch::Tensor> classes;
  if (!options.labels.empty()) {
    classes = load_label_names(world, options.labels, partition).indices;
  }
  run.claim({.inputs = options.inputs(path.string()),
             .outputs = {"labels.npy", "residuals.npy", "embedding.npy"}});
  log_info("{} samples of {} numbers by {} subspaces of dimension {}", partition.rows(),
           raw.features(), model.clusters(), model.bases.size(2));

  run.phase("assign");
  const auto placement = run.placement();
  const CarriedRows placed(CarriedRows::To::kDevice, raw, placement);
  const FeatureRows features(placed, own.begin, model, placement);
  const UnitRows unit(features, model.constant, placement);
  const auto labelling = label_rows(placement, unit, model.bases, run.directory());
  SubspaceFindings findings{.labelling = &labelling, .model = &model};
  findings.residuals = residual_histogram(world, labelling.residuals);
  auto& summary = run.summary();
  if (classes) {
    const auto metrics = clustering_metrics(confusion_matrix(world, labelling.labels, *classes));
    findings.metrics[""] = metrics;
    summary["metrics"] = metrics_json(metrics);
  }
  summary["metrics"]["objective"] = labelling.objective;
  summary["metrics"]["suspected_outliers"] = findings.residuals.suspected_outliers;
  summary["choices"] = {{"samples", partition.rows()},
                        {"model", path.string()},
                        {"subspace_dim", model.bases.size(2)}};
  if (labelling.zero_rows > 0) {
    run.warn(std::to_string(labelling.zero_rows) +
             " rows are all zeros: their label is 0, their residual 1");
  }
  run.finish([&](const nlohmann::json& whole) {
    return subspace_report(world, partition, CarriedRows(CarriedRows::To::kHost, unit, placement),
                           findings, {}, 1, whole);
  });
  return ExitCode::kDone;
}

}  // namespace eigenscale
