#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/train/adam.h"

namespace eigenscale {

struct OptimizerOptions {
  enum class Kind { kSgd, kAdam };
  Kind kind = Kind::kAdam;
  /// The learning rate in here is the one of `step()` without an argument.
  AdamOptions adam = {};
  /// SGD: v <- momentum v + g, p <- p - lr v, as torch.optim.SGD.
  double momentum = 0.9;
  /// SGD: p <- p - lr (g + momentum v).
  bool nesterov = false;
  /// SGD adds it times the weights to the gradient, Adam shrinks the weights directly (Loshchilov
  /// and Hutter, ICLR 2019). Only for parameters of two or more dimensions: not biases, not the
  /// scales of normalisation.
  double weight_decay = 0;
  /// Every rank keeps the moments of 1/P of all parameters, updates those, and gets the others
  /// from their owners (as ZeRO stage 1, Rajbhandari et al., SC 2020).
  bool sharded = false;
};

/// Updates parameters by their gradients, the same on all ranks. Its state lies in flat arrays: the
/// moments of all parameters one behind the other in their given order. Shares the parameters,
/// which are contiguous and of one element type; borrows the communicator.
class Optimizer {
 public:
  /// [local]
  Optimizer(const Communicator& communicator, const std::vector<torch::Tensor>& parameters,
            const OptimizerOptions& options);

  /// [collective when sharded, otherwise local] One step; a parameter without gradient counts as
  /// zero gradient.
  void step(double learning_rate);
  void step() { step(options_.adam.learning_rate); }

  /// Steps done so far; Adam's correction depends on them.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

  /// Numbers in all parameters together, and the range of them whose moments this rank has.
  std::int64_t values() const { return values_; }
  RowRange owned() const { return owned_; }
  /// "momentum", or "first_moment" and "second_moment".
  const std::vector<std::string>& moment_names() const { return names_; }
  /// The arrays of those names over `owned()`, to read and to fill.
  const std::vector<torch::Tensor>& moments() const { return moments_; }
  /// [local] The part of the moment array `which` that belongs to a parameter, in its shape; only
  /// when not sharded.
  torch::Tensor moment_of(std::size_t which, std::size_t parameter) const;

  /// [local] No weight decay for this parameter.
  void exempt_from_decay(const torch::Tensor& parameter);
  /// [local] Zeroes the moments of the entries of `parameter` that `which` (bool, of a shape that
  /// expands to the parameter's) selects.
  void clear_moments(const torch::Tensor& parameter, const torch::Tensor& which);

  const OptimizerOptions& options() const { return options_; }

 private:
  /// What of a parameter this rank updates.
  struct Piece {
    std::size_t parameter;
    std::int64_t first;   ///< in the flattened parameter
    std::int64_t length;  ///< of it
    std::int64_t at;      ///< in the arrays of moments
  };

  void update(const Piece& piece, double learning_rate);
  void descend_together(double learning_rate);
  std::size_t index_of(const torch::Tensor& parameter) const;
  /// One step of SGD on a run of values.
  void descend(torch::Tensor parameter, torch::Tensor gradient, torch::Tensor velocity,
               double decay, double learning_rate) const;
  void exchange_parameters();

  const Communicator& communicator_;
  OptimizerOptions options_;
  std::vector<torch::Tensor> parameters_;
  std::vector<std::int64_t> offsets_;
  std::vector<double> decays_;
  std::int64_t values_ = 0;
  RowRange owned_;
  std::vector<Piece> pieces_;
  std::vector<std::string> names_;
  std::vector<torch::Tensor> moments_;
  std::int64_t steps_ = 0;
};

}  // namespace eigenscale
