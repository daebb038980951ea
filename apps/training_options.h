#pragma once

#include "eigenscale/core/options.h"
#include "eigenscale/train/training_run.h"

namespace eigenscale {

/// [local] What the options of eigenscale-train ask for. OptionError.
TrainingRunOptions training_options(const ProgramOptions& options);

}  // namespace eigenscale
