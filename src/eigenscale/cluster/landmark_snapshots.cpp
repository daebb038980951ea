#include "eigenscale/cluster/landmark_snapshots.h"

#include <nlohmann/json.hpp>

namespace eigenscale {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LandmarkCandidate, start, objective)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DimensionTrial, dimension, rest)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DimensionChoice, dimension, trials)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RefinementPass, pass, objective, changed, refilled)

namespace {

constexpr const char* kStarts = "landmarks";
constexpr const char* kModel = "landmark_subspaces";
constexpr const char* kRefinement = "refine";
constexpr const char* kRefined = "refined";

}  // namespace

void note_starts(ClusteringSnapshots& snapshots, const StartLabels& starts) {
  snapshots.note(kStarts, {{"starts", starts.starts}, {"distinct_rows", starts.distinct_rows}},
                 {{"labels", starts.labels}});
}

StartLabels noted_starts(const ClusteringSnapshots& snapshots) {
  if (!snapshots.has(kStarts)) {
    return {};
  }
  const auto& state = snapshots.found(kStarts);
  return {state.at("starts"), snapshots.tensor(kStarts, "labels"), state.at("distinct_rows")};
}

void note_landmark_model(ClusteringSnapshots& snapshots, const LandmarkModel& model) {
  snapshots.forget(kStarts);
  snapshots.note(kModel,
                 {{"best", model.best},
                  {"candidates", model.candidates},
                  {"dimension_choices", model.dimension_choices},
                  {"dimension", model.dimension},
                  {"dimension_stands_out", model.dimension_stands_out},
                  {"sample", model.sample},
                  {"distinct_rows", model.distinct_rows}},
                 {{"bases", model.bases}, {"unrefined_bases", model.unrefined_bases}});
}

bool has_landmark_model(const ClusteringSnapshots& snapshots) { return snapshots.has(kModel); }

LandmarkModel noted_landmark_model(const ClusteringSnapshots& snapshots) {
  const auto& state = snapshots.found(kModel);
  LandmarkModel model;
  model.bases = snapshots.tensor(kModel, "bases");
  model.unrefined_bases = snapshots.tensor(kModel, "unrefined_bases");
  state.at("best").get_to(model.best);
  state.at("candidates").get_to(model.candidates);
  state.at("dimension_choices").get_to(model.dimension_choices);
  state.at("dimension").get_to(model.dimension);
  state.at("dimension_stands_out").get_to(model.dimension_stands_out);
  state.at("sample").get_to(model.sample);
  state.at("distinct_rows").get_to(model.distinct_rows);
  return model;
}

void note_refinement(ClusteringSnapshots& snapshots, const RefinementProgress& progress) {
  NamedTensors tensors = {{"bases", progress.bases}, {"labelling_bases", progress.labelling_bases}};
  if (progress.directions.defined()) {
    tensors["directions"] = progress.directions;
  }
  snapshots.note(kRefinement, {{"passes", progress.passes}}, tensors);
}

RefinementProgress noted_refinement(const ClusteringSnapshots& snapshots) {
  RefinementProgress progress;
  if (snapshots.has(kRefinement)) {
    auto tensors = snapshots.tensors(kRefinement);
    progress.bases = tensors["bases"];
    progress.directions = tensors["directions"];
    progress.labelling_bases = tensors["labelling_bases"];
    snapshots.found(kRefinement).at("passes").get_to(progress.passes);
  }
  return progress;
}

void note_refined(ClusteringSnapshots& snapshots, const SubspaceModel& model,
                  const std::vector<RefinementPass>& passes) {
  snapshots.forget(kRefinement);
  snapshots.note(kRefined, {{"passes", passes}},
                 {{"bases", model.bases}, {"spectra", model.spectra}});
}

bool has_refined(const ClusteringSnapshots& snapshots) { return snapshots.has(kRefined); }

std::vector<RefinementPass> take_refined(const ClusteringSnapshots& snapshots,
                                         SubspaceModel& model) {
  model.bases = snapshots.tensor(kRefined, "bases");
  model.spectra = snapshots.tensor(kRefined, "spectra");
  return snapshots.found(kRefined).at("passes");
}

}  // namespace eigenscale
