#include "eigenscale/cluster/clustering_summary.h"

#include "eigenscale/core/log.h"

namespace eigenscale {
namespace {

void announce(const std::string& name, const ClusteringMetrics& metrics) {
  log_info("  {:<26} accuracy {:.4f}  NMI {:.4f}  ARI {:.4f}", name, metrics.accuracy, metrics.nmi,
           metrics.ari);
}

}  // namespace

nlohmann::json metrics_json(const ClusteringMetrics& metrics) {
  return {{"accuracy", metrics.accuracy}, {"nmi", metrics.nmi}, {"ari", metrics.ari}};
}

void summarize_metrics(Run& run, const std::map<std::string, ClusteringMetrics>& metrics) {
  auto& summary = run.summary()["metrics"];
  for (const auto& [name, values] : metrics) {
    if (name.empty()) {
      summary.update(metrics_json(values));
    } else {
      summary[name] = metrics_json(values);
      announce(name, values);
    }
  }
  if (const auto result = metrics.find(""); result != metrics.end()) {
    announce("result", result->second);
  }
}

void summarize_pretraining(Run& run, const std::optional<PretrainingResult>& result,
                           std::int64_t batch) {
  if (result) {
    auto& choices = run.summary()["choices"];
    choices["pretraining_batch"] = batch;
    choices["pretraining_epochs"] = result->last.epoch;
    choices["pretraining_rmse"] = result->last.rmse;
    choices["pretraining_stopped_by"] = result->stopped_by;
  }
}

void log_epoch(Run& run, const EpochReport& epoch) {
  run.log({{"phase", "pretrain"},
           {"initialization", epoch.initialization},
           {"epoch", epoch.epoch},
           {"loss", epoch.loss},
           {"rmse", epoch.rmse}});
  run.progress("pretrain", epoch.of, epoch.epoch, format_text("RMSE {:.5g}", epoch.rmse));
}

void log_step(Run& run, const FineTuningStep& step, std::int64_t most_steps) {
  run.log({{"phase", "finetune"},
           {"step", step.step},
           {"loss", step.loss},
           {"reconstruction", step.reconstruction},
           {"self_expression", step.self_expression},
           {"coefficient_penalty", step.coefficient_penalty}});
  run.progress("finetune", most_steps, step.step, format_text("loss {:.6g}", step.loss));
}

void log_curves(Run& run, const CurveStep& step) {
  run.log({{"phase", "curves"},
           {"round", step.round},
           {"step", step.step},
           {"log_likelihood", step.log_likelihood},
           {"objective", step.objective}});
  run.progress("curves", kCurveRounds * kCurveSteps, (step.round - 1) * kCurveSteps + step.step,
               format_text("objective {:.4g}", step.objective));
}

}  // namespace eigenscale
