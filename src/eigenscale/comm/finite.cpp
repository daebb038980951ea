#include "eigenscale/comm/finite.h"

#include <cmath>

#include "eigenscale/core/errors.h"

namespace eigenscale {

bool all_finite(const torch::Tensor& values) {
  if (values.numel() == 0 || !values.is_floating_point()) {
    return true;
  }
  // One pass without a mask; the largest values may overflow a sum and are looked at one by one.
  return std::isfinite(values.sum(torch::kFloat64).item<double>()) ||
         values.isfinite().all().item<bool>();
}

void require_finite(const Communicator& communicator, const torch::Tensor& values,
                    const std::string& what, const std::string& advice) {
  if (all_reduce(communicator, std::int64_t{all_finite(values) ? 0 : 1}) > 0) {
    throw Error(ExitCode::kNumerical, what + " holds values that are not finite: " + advice,
                /*agreed=*/true);
  }
}

}  // namespace eigenscale
