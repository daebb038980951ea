#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Sums the gradients of a list of parameters over all ranks, as one message. Borrows the
/// communicator, shares the parameters. All parameters have one element type.
class GradientReducer {
 public:
  GradientReducer(const Communicator& communicator, std::vector<torch::Tensor> parameters);

  /// [collective] Every gradient becomes its sum over ranks; a rank without samples, whose
  /// gradients are undefined, contributes zeros. `scalars` (the terms of the loss, of equal number
  /// on all ranks) are summed in double on the way: in the same message where the gradients are
  /// double, in a second one under way at the same time where they are not.
  void reduce(std::span<double> scalars = {});

 private:
  void make_bucket(torch::ScalarType type, std::int64_t scalar_count);

  const Communicator& communicator_;
  std::vector<torch::Tensor> parameters_;
  /// Numbers in all gradients together.
  std::int64_t values_ = 0;
  /// All gradients, then the scalars where they travel along; views of it per gradient.
  torch::Tensor bucket_;
  std::vector<torch::Tensor> slices_;
};

}  // namespace eigenscale
