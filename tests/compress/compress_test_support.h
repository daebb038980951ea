#pragma once

#include "eigenscale/compress/output_difference.h"
#include "support/mpi_test.h"

namespace eigenscale::test {

/// The largest difference of the outputs for 20 random images of 12 x 12, relative to the largest.
inline double output_change(const SavedModel& a, const SavedModel& b) {
  torch::manual_seed(3);
  const auto samples = torch::randn({20, 1, 12, 12}, torch::kFloat64);
  return output_difference(double_outputs(world(), a, samples), double_outputs(world(), b, samples))
      .relative();
}

}  // namespace eigenscale::test
