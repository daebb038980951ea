#pragma once

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/batch_stream.h"
#include "eigenscale/data/labelled_samples.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/train/evaluation.h"

namespace eigenscale {

/// Of the samples a rank was given.
struct ObjectiveTerms {
  torch::Tensor loss;  ///< the sum over samples, with its graph
  /// How many were classified wrongly, where there are classes; otherwise undefined.
  torch::Tensor wrong;
};

/// What a trainer minimises: the mean over samples of a loss. Borrows what it trains.
class Objective {
 public:
  virtual ~Objective() = default;

  /// What is trained: its parameters and buffers are in checkpoints.
  virtual torch::nn::Module& module() const = 0;
  /// What tells the module from others, for checkpoints.
  virtual nlohmann::json specification() const = 0;
  /// Type of the samples it takes.
  virtual torch::ScalarType input_type() const = 0;
  /// Of its arithmetic; for checkpoints.
  virtual torch::ScalarType precision() const = 0;
  /// [collective where the module's layers are] Also without samples.
  virtual ObjectiveTerms terms(const Batch& batch) const = 0;
  /// [collective] The mean loss over all samples, whose values are multiplied by `scale`.
  virtual Evaluation evaluate(const Placement& placement, const LabelledSamples& samples,
                              double scale) const = 0;
};

/// Cross-entropy of a network's outputs.
class Classification final : public Objective {
 public:
  explicit Classification(Network& network) : network_(network) {}
  torch::nn::Module& module() const override { return network_; }
  nlohmann::json specification() const override { return network_.specification(); }
  torch::ScalarType input_type() const override { return network_.weight_type(); }
  torch::ScalarType precision() const override { return network_.precision(); }
  ObjectiveTerms terms(const Batch& batch) const override;
  Evaluation evaluate(const Placement& placement, const LabelledSamples& samples,
                      double scale) const override;

 private:
  Network& network_;
};

/// Half the mean squared error per feature of an autoencoder's reconstruction of n x D samples,
/// 1/(2 D) ||x - decode(encode(x))||^2: the root of twice the loss is the RMSE. Needs no labels.
class Reconstruction final : public Objective {
 public:
  explicit Reconstruction(Autoencoder& autoencoder) : autoencoder_(autoencoder) {}
  torch::nn::Module& module() const override { return autoencoder_; }
  nlohmann::json specification() const override;
  torch::ScalarType input_type() const override { return autoencoder_.precision(); }
  torch::ScalarType precision() const override { return autoencoder_.precision(); }
  ObjectiveTerms terms(const Batch& batch) const override;
  Evaluation evaluate(const Placement& placement, const LabelledSamples& samples,
                      double scale) const override;

 private:
  Autoencoder& autoencoder_;
};

}  // namespace eigenscale
