#include "eigenscale/cluster/self_expression_choice.h"

#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

SelfExpressionChoice codes_on_landmarks(const ClusteringRunOptions& options, std::int64_t samples) {
  if (options.refine == "subspaces" || options.affine || options.whiten_features) {
    throw OptionError(
        "--self-expression landmark labels every row by its own codes, without a subspace model: "
        "leave out --refine subspaces, --affine and --whiten-features");
  }
  if (!options.preset.empty()) {
    throw OptionError("a preset is coefficients over all samples: leave out --self-expression");
  }
  if (options.grid[0] > 0) {
    throw OptionError(
        "--grid is for coefficients over all samples: codes on landmarks are split by rows");
  }
  SelfExpressionChoice choice;
  choice.codes = true;
  choice.count = options.landmarks > 0 ? options.landmarks
                                       : default_landmarks(samples, options.clustering.clusters);
  choice.reason = "codes of all rows on " + std::to_string(choice.count) + " landmarks";
  return choice;
}

}  // namespace

SelfExpressionChoice choose_self_expression(const ClusteringRunOptions& options,
                                            std::int64_t samples) {
  const std::int64_t clusters = options.clustering.clusters;
  const bool given = options.landmarks > 0;
  if (given && options.landmarks < clusters) {
    throw OptionError("--landmarks is " + std::to_string(options.landmarks) +
                      " but --clusters is " + std::to_string(clusters) +
                      "; every cluster needs at least one");
  }
  if (given && options.landmarks > samples) {
    throw InputError("--landmarks is " + std::to_string(options.landmarks) + " but '" +
                     options.data_name() + "' has " + std::to_string(samples) + " samples");
  }
  const bool curves = options.overrides.encoder == "curves";
  if (curves && (options.self_expression == "landmark" || options.refine == "none")) {
    throw OptionError(
        "--encoder curves is for the subspace model: leave out --self-expression landmark and "
        "--refine none");
  }
  if (options.self_expression == "landmark") {
    return codes_on_landmarks(options, samples);
  }
  if (given && options.refine == "none") {
    throw OptionError(
        "--refine none leaves rows that are no landmarks without labels; leave out --landmarks, or "
        "train codes of all rows on them (--self-expression landmark)");
  }
  const bool automatic = options.self_expression == "auto";
  const bool subspaces = options.refine == "subspaces";
  SelfExpressionChoice choice;
  // A preset is the paper's method.
  choice.landmarks =
      given || subspaces || curves ||
      (automatic && options.refine != "none" && options.preset.empty() && samples > kFullSamples);
  if (!choice.landmarks) {
    if (options.affine || options.whiten_features) {
      throw OptionError(std::string(options.affine ? "--affine" : "--whiten-features") +
                        " is for the subspace model: add --refine subspaces or --landmarks");
    }
    choice.closed_form = options.self_expression == "closed-form";
    choice.count = samples;
    choice.reason = choice.closed_form ? "closed form over all rows" : "full";
    return choice;
  }
  if (!options.preset.empty()) {
    throw OptionError(
        "a preset is coefficients over all samples: leave out --landmarks, --refine and --encoder "
        "curves");
  }
  if (options.grid[0] > 0) {
    throw OptionError("--grid is for coefficients over all samples: leave it out with landmarks");
  }
  // Coefficients over all rows when they were asked for by name, and the model behind them.
  choice.count = given                                 ? options.landmarks
                 : (subspaces || curves) && !automatic ? samples
                                                       : default_landmarks(samples, clusters);
  choice.closed_form = options.self_expression != "full";
  choice.reason = std::string(choice.closed_form ? "closed form on " : "full on ") +
                  std::to_string(choice.count) + " landmarks" +
                  (automatic && !given && !subspaces && !curves
                       ? " (over all rows up to " + std::to_string(kFullSamples) + " of them)"
                       : "");
  return choice;
}

}  // namespace eigenscale
