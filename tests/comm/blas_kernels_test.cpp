#include "eigenscale/comm/blas_kernels.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace eigenscale {
namespace {

TEST(BlasKernels, OldOnesGiveWayToThoseOfTheProcessor) {
  EXPECT_EQ(better_blas_kernels("Prescott", true, true), "SkylakeX");
  EXPECT_EQ(better_blas_kernels("Nehalem", true, false), "Haswell");
  EXPECT_EQ(better_blas_kernels("Prescott", false, false), "");
}

TEST(BlasKernels, AGoodChoiceStays) {
  for (const auto* kernels : {"Haswell", "SkylakeX", "Cooperlake", "SapphireRapids", "Zen", ""}) {
    EXPECT_EQ(better_blas_kernels(kernels, true, true), "") << kernels;
  }
}

#ifdef __x86_64__
// run_program has chosen already.
TEST(BlasKernels, ThisProcessHasGoodOnes) {
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  if (const auto* chosen = std::getenv("OPENBLAS_CORETYPE"); chosen != nullptr) {
    EXPECT_STRCASEEQ(blas_kernels().c_str(), chosen);
  } else {
    EXPECT_EQ(better_blas_kernels(blas_kernels(), avx2, true), "");
  }
}
#endif

}  // namespace
}  // namespace eigenscale
