#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/comm/progress_thread.h"

namespace eigenscale {

struct GradientReducerOptions {
  /// The first bucket is small, so that communication starts early; the others are large, so that
  /// it is efficient. A parameter is never cut; one larger than a bucket is its own.
  std::int64_t first_bucket_bytes = std::int64_t{1} << 20;
  std::int64_t bucket_bytes = std::int64_t{25} << 20;
  /// What gradients are rounded to while they travel, such as torch::kBFloat16: half the bytes for
  /// 8 bits of mantissa. Partial sums are rounded, too.
  std::optional<torch::ScalarType> wire_type = std::nullopt;
  /// Sum in rank order (all-to-all, ordered sum, all-gather), so that the sizes of buckets never
  /// change a bit of the result. MPI_Allreduce's order of summation depends on the message's size
  /// from 3 ranks on; on 2 it cannot.
  bool deterministic = false;
  /// Let a thread drive the messages while backward computes: for networks, where there are cores
  /// to spare. Otherwise each gradient that becomes ready drives them.
  bool progress_thread = false;
};

/// [local] How many parameters each bucket takes, of parameters of these bytes in the order in
/// which they come.
std::vector<std::int64_t> parameters_of_buckets(std::span<const std::int64_t> parameter_bytes,
                                                const GradientReducerOptions& options);

/// Sums the gradients of any module's parameters over all ranks, in buckets, while backward still
/// runs. Frozen parameters (requires_grad false) are left out, shared ones counted once. All others
/// have one element type. After `reduce()` every gradient is a view of its bucket.
///
///   reducer.arm();                        // in the last backward pass before the update
///   loss.backward();                      // buckets leave as they fill, but the last
///   reducer.reduce();                     // the rest, and the wait
///
/// The last bucket fills when backward ends, so it leaves in `reduce()`, by a blocking call: those
/// of Open MPI are faster. Without `arm()` all buckets leave in `reduce()`: gradients of several
/// backward passes add up locally first. Ranks need not do alike: one without rows may neither arm
/// nor run a pass. Buckets follow parameters in reverse order until the first step in which a rank
/// was armed and had all gradients, from then on the order in which those became ready there (on
/// the first such rank).
/// Uses communicators of its own, so that layers may communicate in backward. On a device buckets
/// lie there, and scalars never come near it.
class GradientReducer {
 public:
  /// [collective]
  GradientReducer(const Placement& placement, const std::vector<torch::Tensor>& parameters,
                  const GradientReducerOptions& options = {});
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// [local] Lets buckets leave during the next backward pass, which must be the last one before
  /// `reduce()`.
  void arm();

  /// [collective] Every gradient becomes its sum over ranks; undefined ones (unused parameters, a
  /// rank without samples) contribute zeros. `scalars` (the terms of the loss, of equal number on
  /// all ranks) are summed in double.
  void reduce(std::span<double> scalars = {});

  /// [local] The Euclidean norm of all gradients together, in double; the same on all ranks after
  /// `reduce()`.
  double gradient_norm() const;
  /// [local] Multiplies all gradients.
  void scale_gradients(double factor);

  /// [collective] Seconds that sending all buckets takes when nothing else is done; median of 3.
  double measure_communication();
  /// Seconds of the last `reduce()` that were spent waiting for messages.
  double exposed_seconds() const { return exposed_seconds_; }

  /// The order of parameters in the buckets, as indices into `parameters()`; part of a checkpoint,
  /// since buckets decide how sums are rounded.
  const std::vector<std::int64_t>& order() const { return order_; }
  /// Whether `order()` has been agreed to be the order of readiness.
  bool order_is_final() const { return order_is_final_; }
  /// [local, the same on all ranks] Puts back the order of a checkpoint.
  void set_order(const std::vector<std::int64_t>& order, bool is_final);

  /// What is reduced: trainable parameters, each once.
  const std::vector<torch::Tensor>& parameters() const { return parameters_; }
  std::size_t buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::vector<std::size_t> members;
    torch::Tensor gradients;  ///< of all members, one behind the other
    torch::Tensor wire;       ///< what travels: the same, or rounded
    torch::Tensor pieces;     ///< deterministic: every rank's version of the own piece
    std::size_t missing = 0;  ///< members whose gradient is not there yet
    std::unique_ptr<Work> work;
    double launched = 0;
  };

  void make_buckets();
  void on_ready(std::size_t parameter);
  void collect(std::size_t parameter);
  void launch_ready();
  void launch(Bucket& bucket);
  /// How many buckets may leave during backward.
  std::size_t early_buckets() const;
  void finish(Bucket& bucket);
  void agree_on_order(bool complete);
  void drive();

  /// For what is on the host.
  const Communicator& control() const { return control_ ? *control_ : *communicator_; }

  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<Communicator> control_;  ///< where the first one is of a device
  GradientReducerOptions options_;
  std::vector<torch::Tensor> parameters_;
  std::vector<std::int64_t> order_;
  bool order_is_final_ = false;
  std::vector<Bucket> buckets_;
  /// Bucket of each parameter, and its slice of that bucket in the parameter's shape.
  std::vector<std::size_t> bucket_of_;
  std::vector<torch::Tensor> slices_;

  bool armed_ = false;
  std::vector<std::int64_t> ready_;  ///< in the order of readiness
  std::vector<bool> is_ready_;       ///< of each parameter
  std::size_t launched_ = 0;
  double exposed_seconds_ = 0;
  std::unique_ptr<ProgressThread> progress_;

  struct Hook;
  std::vector<Hook> hooks_;
};

/// [local] The tensors that training changes: `requires_grad`, each once.
std::vector<torch::Tensor> trainable(const std::vector<torch::Tensor>& parameters);

}  // namespace eigenscale
