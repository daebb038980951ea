#pragma once

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/labelled_samples.h"
#include "eigenscale/nn/network.h"

namespace eigenscale {

struct Evaluation {
  double loss = 0;
  double accuracy = 0;
};

/// [collective] Mean cross-entropy and share of right classes over the samples of all ranks, whose
/// values are multiplied by `scale`; the network in evaluation mode.
Evaluation evaluate(const Placement& placement, Network& network, const LabelledSamples& samples,
                    double scale);

}  // namespace eigenscale
