#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/spectral/whitening_transform.h"

namespace eigenscale {

/// [collective] The components of a transform, D x k doubles, whole on every rank.
torch::Tensor whole_components(const WhiteningTransform& transform);

/// [collective] The page of a whitening run: figures, the spectrum, the share of the variance that
/// the leading components explain, and for images (`image_shape` of 2 or 3 sizes) the leading
/// components as pictures. `total_variance` is the trace of the covariance.
std::string whitening_report(const WhiteningTransform& transform, double total_variance,
                             const std::vector<std::int64_t>& image_shape,
                             const nlohmann::json& summary);

}  // namespace eigenscale
