#include "eigenscale/comm/blas_kernels.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace eigenscale {
namespace {

constexpr auto kVariable = "OPENBLAS_CORETYPE";

template <typename Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

}  // namespace

std::string blas_kernels() {
  auto* name = find<char*()>("openblas_get_corename");
  return name == nullptr ? "" : name();
}

std::string better_blas_kernels(const std::string& chose, bool has_avx2, bool has_avx512) {
  // What a processor has not heard of falls back to, and what older ones of its family are.
  constexpr std::array kOld{"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Barcelona"};
  if (!has_avx2 || std::find(kOld.begin(), kOld.end(), chose) == kOld.end()) {
    return "";
  }
  return has_avx512 ? "SkylakeX" : "Haswell";
}

void choose_blas_kernels() {
#ifdef __x86_64__
  if (std::getenv(kVariable) != nullptr) {
    return;
  }
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  const bool avx512 =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  const auto better = better_blas_kernels(blas_kernels(), avx2, avx512);
  // OpenBLAS chooses when it is loaded, before main. These two of its functions, which every build
  // for several processors has, make it choose again.
  auto* forget = find<void()>("gotoblas_dynamic_quit");
  auto* choose = find<void()>("gotoblas_dynamic_init");
  if (better.empty() || forget == nullptr || choose == nullptr) {
    return;
  }
  ::setenv(kVariable, better.c_str(), 1);
  forget();
  choose();
#endif
}

}  // namespace eigenscale
