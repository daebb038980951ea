#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/spectral/gradient_rule.h"

namespace eigenscale {

/// What the running statistics of ZCA whitening average.
enum class RunningAverage {
  kCovariance,       ///< evaluation whitens by the averaged covariance
  kWhiteningMatrix,  ///< as the authors: the average of inverse roots, which is another matrix
};

struct NormalizationOptions {
  std::int64_t channels = 1;
  /// Contiguous blocks of channels, each whitened alone (zca, pca).
  std::int64_t groups = 1;
  /// Added to variances and eigenvalues.
  double epsilon = 1e-4;
  /// Multiply epsilon by trace(S) / d of each group, for inputs of any scale.
  bool relative_epsilon = false;
  /// Weight of the newest batch in the running statistics.
  double momentum = 0.1;
  /// A learnable scale and shift of each channel.
  bool affine = true;
  /// How eigenvectors are differentiated; none for the exact gradient of a matrix function.
  std::optional<GradientRuleOptions> rule = std::nullopt;
  /// Components that are kept: those that hold this share of the variance, the one that reaches it
  /// included, or exactly `components` of each group when that is positive. At least one.
  double energy = 1;
  std::int64_t components = 0;
  RunningAverage running = RunningAverage::kCovariance;
  /// From this many channels in a group on (and on more than one rank) ZCA whitening with all its
  /// defaults of rule, truncation and running statistics keeps its matrices distributed.
  std::int64_t distributed_from = 1024;
};

/// A layer that normalises channels by the statistics of the batch on all ranks while training, and
/// by running ones in evaluation. Input n x C or n x C x height x width, float or double, maybe
/// without samples on some ranks; spectral work is in double. Borrows the communicator. In training
/// mode forward and backward are collective: all ranks call them in the same order.
/// Inputs of lower precision are taken as float, and nothing here is computed in less, whatever
/// autocast says around it. Parameters and input lie on the communicator's device.
class Normalization : public torch::nn::Module {
 public:
  torch::Tensor forward(const torch::Tensor& input);

  /// Components kept in the last training batch, of all groups together.
  std::int64_t kept() const { return kept_; }

 protected:
  /// [local] Throws OptionError for options that contradict themselves.
  Normalization(const Communicator& communicator, const NormalizationOptions& options);

  /// [collective in training] Of an input with the layer's channels, float or double, or what else
  /// the layer takes.
  virtual torch::Tensor normalize(const torch::Tensor& input) = 0;
  /// [local] Scale and shift of C x samples where the layer has them.
  torch::Tensor affine(const torch::Tensor& columns) const;
  /// [local] Whether the layer takes an input of lower precision as it is.
  virtual bool takes(const torch::Tensor&) const { return false; }
  /// [collective in training] How many leading eigenvalues of one group (descending, without
  /// epsilon) are kept: while training rank 0 decides; in evaluation all ranks have the same
  /// running statistics and nobody is asked. Never cuts between eigenvalues that are equal to 1e-6
  /// of the first.
  std::int64_t count_kept(const torch::Tensor& eigenvalues) const;
  /// [local] running = (1 - momentum) running + momentum batch.
  void update_running(torch::Tensor running, const torch::Tensor& batch) const;

  std::int64_t group_size() const { return options_.channels / options_.groups; }

  const Communicator& communicator_;
  NormalizationOptions options_;
  std::int64_t kept_ = 0;

  /// Undefined when not affine.
  torch::Tensor scale_;
  torch::Tensor shift_;
};

}  // namespace eigenscale
