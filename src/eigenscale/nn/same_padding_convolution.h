#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace eigenscale {

/// TensorFlow's SAME padding of one axis at stride 2: out = ceil(in / 2), and the padding
/// max(2 (out - 1) + kernel - in, 0) is split with the smaller half before. For 32 -> 16 and
/// kernel 3 that is 0 before and 1 after, which no symmetric padding can express.
struct SamePadding {
  std::int64_t output = 0;
  std::int64_t before = 0;
  std::int64_t after = 0;
};
/// [local]
SamePadding same_padding(std::int64_t input, std::int64_t kernel);

/// Convolution with stride 2 and SAME padding, bias, and optionally ReLU. Images lie batch-last,
/// C x H x W x N: the layer gathers their patches in one strided copy whose runs are N long, and is
/// a single matrix product from there (see patch_matrix.h). On the few channels of the papers'
/// networks this beats libtorch's convolutions. Forward and backward of a whole autoencoder, best
/// of 60, one thread of an EPYC with AVX2 and other load beside it, OpenBLAS, milliseconds
/// (benchmarks/convolution.cpp):
///
///   network                     images   libtorch   this
///   ORL, channels 3,3,5            200      11.1     4.4
///   ORL                            400      27.0     9.4
///   COIL20, channels 15            720      38.2    20.6
///   COIL20                        1440     117      46.9
///   Extended Yale B, 10,20,30      640     278     172
///
/// Gradients are first-order only. Images are float or double; the parameters, and the sums over
/// samples and pixels that are their gradients, are always double. So the number of ranks over
/// which the samples are spread changes float weights only where a sum lies within 1e-16 of a
/// rounding boundary; float sums differ by 1e-7, which the kinks of ReLU grow to 1e-5 in tens of
/// steps. Parameters: `weight` (out, in, kernel, kernel), `bias` (out).
class SamePaddingConvolution : public torch::nn::Module {
 public:
  SamePaddingConvolution(std::int64_t in_channels, std::int64_t out_channels, std::int64_t kernel,
                         bool relu);

  /// [local] C x H x W x N -> out x ceil(H/2) x ceil(W/2) x N.
  torch::Tensor forward(const torch::Tensor& images);

 private:
  torch::Tensor weight_;
  torch::Tensor bias_;
  bool relu_;
};

/// The mirror of SamePaddingConvolution: without bias and ReLU it is the exact adjoint of the
/// convolution with the same weight that maps the bigger shape to the smaller. Parameters:
/// `weight` (in, out, kernel, kernel), `bias` (out).
class SamePaddingTransposedConvolution : public torch::nn::Module {
 public:
  SamePaddingTransposedConvolution(std::int64_t in_channels, std::int64_t out_channels,
                                   std::int64_t kernel, bool relu);

  /// [local] in x h x w x N -> out x height x width x N, where h = ceil(height/2) and
  /// w = ceil(width/2).
  torch::Tensor forward(const torch::Tensor& images, std::int64_t height, std::int64_t width);

 private:
  torch::Tensor weight_;
  torch::Tensor bias_;
  bool relu_;
};

}  // namespace eigenscale
