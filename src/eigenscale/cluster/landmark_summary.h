#pragma once

#include <vector>

#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/cluster/row_labelling.h"
#include "eigenscale/cluster/run_rows.h"
#include "eigenscale/cluster/self_expression_choice.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/report/run.h"

namespace eigenscale {

/// [local] What the summary says of a run with landmarks beside metrics and pre-training, and the
/// warnings of its data.
void summarize_landmark_run(Run& run, const RunRows& rows, const SelfExpressionChoice& choice,
                            const LandmarkModel& landmarks,
                            const std::vector<RefinementPass>& passes,
                            const RowLabelling& labelling);

}  // namespace eigenscale
