#pragma once

#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [collective] NumericalError (agreed) when any rank's values hold one that is not finite: "WHAT
/// holds values that are not finite: ADVICE". What is wrong must not become a result that looks
/// right.
void require_finite(const Communicator& communicator, const torch::Tensor& values,
                    const std::string& what, const std::string& advice);

/// [local] Whether all values are finite; no copy of them is made.
bool all_finite(const torch::Tensor& values);

}  // namespace eigenscale
