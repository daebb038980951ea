#include "eigenscale/cluster/landmark_summary.h"

#include <cstdint>
#include <string>

#include "eigenscale/cluster/subspace_sums.h"

namespace eigenscale {
namespace {

void warn(Run& run, const SelfExpressionChoice& choice, const LandmarkModel& landmarks,
          const RowLabelling& labelling) {
  if (labelling.zero_rows > 0) {
    run.warn(std::to_string(labelling.zero_rows) +
             " rows are all zeros: they belong to every subspace and took no part; their label is "
             "0, their residual 1");
  }
  const std::int64_t clusters = labelling.sizes.numel();
  const auto empty = (labelling.sizes == 0).sum().item<std::int64_t>();
  if (empty > 0) {
    run.warn("only " + std::to_string(clusters - empty) + " of " + std::to_string(clusters) +
             " clusters have members");
  }
  const auto repeated = choice.count - landmarks.distinct_rows;
  if (repeated > choice.count / 100) {
    run.warn("among the " + std::to_string(choice.count) + " landmarks " +
             std::to_string(repeated) + " are copies of others: many rows are identical");
  }
}

}  // namespace

void summarize_landmark_run(Run& run, const RunRows& rows, const SelfExpressionChoice& choice,
                            const LandmarkModel& landmarks,
                            const std::vector<RefinementPass>& passes,
                            const RowLabelling& labelling) {
  run.summary()["choices"] = {
      {"samples", rows.partition().rows()},
      {"self_expression", choice.reason},
      {"landmarks", choice.count},
      {"subspace_dim", landmarks.dimension},
      {"subspace_dim_stands_out", landmarks.dimension_stands_out},
      {"start", landmarks.candidates[landmarks.best].start},
      {"passes", passes.size()},
      {"features", rows.unit().features()},
      {"whiten_features", rows.whitening()},
      {"update", SubspaceSums::by_moments(labelling.sizes.numel(), rows.unit().features())
                     ? "moments"
                     : "subspace iteration"},
      {"rows", rows.held() ? "held" : "streamed"}};
  warn(run, choice, landmarks, labelling);
}

}  // namespace eigenscale
