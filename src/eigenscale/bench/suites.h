#pragma once

#include "eigenscale/bench/benchmark.h"

namespace eigenscale {

// One file each: suite_NAME.cpp.
Suite allreduce_suite();
Suite convolution_suite();
Suite eigen_suite();
Suite fine_tuning_suite();
Suite gemm_suite();
Suite kmeans_suite();
Suite self_expression_suite();
Suite subspaces_suite();
Suite train_step_suite();
Suite whiten_suite();
Suite whitening_layer_suite();

}  // namespace eigenscale
