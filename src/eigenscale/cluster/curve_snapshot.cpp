#include "eigenscale/cluster/curve_snapshot.h"

namespace eigenscale {
namespace {

constexpr const char* kCurves = "curves";

}  // namespace

void note_curves(ClusteringSnapshots& snapshots, const CurveProgress& progress) {
  snapshots.note(kCurves,
                 {{"rounds", progress.rounds},
                  {"objective", progress.objective},
                  {"dimension", progress.dimension},
                  {"done", progress.done}},
                 {{"parameters", progress.parameters},
                  {"knots", progress.curves.knots},
                  {"values", progress.curves.values},
                  {"slopes", progress.curves.slopes}});
}

CurveProgress noted_curves(const ClusteringSnapshots& snapshots) {
  CurveProgress progress;
  if (snapshots.has(kCurves)) {
    const auto& state = snapshots.found(kCurves);
    state.at("rounds").get_to(progress.rounds);
    state.at("objective").get_to(progress.objective);
    state.at("dimension").get_to(progress.dimension);
    state.at("done").get_to(progress.done);
    progress.parameters = snapshots.tensor(kCurves, "parameters");
    progress.curves = {snapshots.tensor(kCurves, "knots"), snapshots.tensor(kCurves, "values"),
                       snapshots.tensor(kCurves, "slopes")};
  }
  return progress;
}

}  // namespace eigenscale
