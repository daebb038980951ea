#pragma once

#include <torch/torch.h>

#include <string>

namespace eigenscale {

/// [local] A picture as a data URI for an <img>: `pixels` is H x W (grey) or H x W x 3 (RGB),
/// uint8. PNG, compressed by zlib.
std::string png_data_uri(const torch::Tensor& pixels);

}  // namespace eigenscale
