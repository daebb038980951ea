#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace eigenscale {

enum class ReduceOp { kSum, kMax, kMin };

/// A collective under way. Holds the tensors it works on. `wait()` returns when the results may be
/// read; a Work that is dropped before `wait()` is an error that its destructor logs (destructors
/// never communicate).
class Work {
 public:
  virtual ~Work() = default;
  /// [collective with the call that started it] Blocks until done. May be called once.
  virtual void wait() = 0;
  /// [local] True when `wait()` would return at once; also makes progress.
  virtual bool test() = 0;
};

/// Who talks to whom, over tensors. Borrowed by everything above; owned by the Environment or by
/// the object that split it. Tensors must be contiguous, live on `device()`, and have the same
/// element type on every rank; sizes are 64-bit. Every collective must be called by all ranks of
/// the communicator in the same order. Results of reductions are bit-identical on all ranks.
///
/// Ragged transfers count *rows*: slices along the first dimension. `counts[r]` is what rank r
/// contributes or receives, and is known to all ranks.
class Communicator {
 public:
  using Counts = std::vector<std::int64_t>;

  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual torch::Device device() const = 0;

  /// [collective] The ranks that give the same `color`, ordered by `key`.
  virtual std::unique_ptr<Communicator> split(int color, int key) const = 0;

  /// [collective] `tensor` becomes the elementwise reduction over all ranks, in place.
  virtual std::unique_ptr<Work> start_all_reduce(torch::Tensor tensor, ReduceOp op) const = 0;

  /// [collective] `output` (sum of counts rows) = the inputs of all ranks in rank order.
  virtual std::unique_ptr<Work> start_all_gather(torch::Tensor output, torch::Tensor input,
                                                 Counts counts) const = 0;

  /// [collective] `input` (sum of counts rows) is reduced over ranks; rank r receives its
  /// `counts[r]` rows in `output`.
  virtual std::unique_ptr<Work> start_reduce_scatter(torch::Tensor output, torch::Tensor input,
                                                     ReduceOp op, Counts counts) const = 0;

  /// [collective] `tensor` of rank `root` is copied into `tensor` of every rank.
  virtual std::unique_ptr<Work> start_broadcast(torch::Tensor tensor, int root) const = 0;

  /// [collective] `tensor` of rank `root` becomes the reduction over all ranks; on the others
  /// its contents are unspecified afterwards.
  virtual std::unique_ptr<Work> start_reduce(torch::Tensor tensor, ReduceOp op, int root) const = 0;

  /// [collective] The first `input_counts[0]` rows of `input` go to rank 0 and so on; `output`
  /// receives `output_counts[r]` rows from rank r, in rank order.
  virtual std::unique_ptr<Work> start_all_to_all(torch::Tensor output, torch::Tensor input,
                                                 Counts output_counts,
                                                 Counts input_counts) const = 0;

  /// [collective]
  virtual std::unique_ptr<Work> start_barrier() const = 0;

  /// [collective] Sends `input` to rank + `distance` and fills `output` from rank - `distance`
  /// (modulo size). The tensors may have different sizes; what one sends the other must expect.
  virtual std::unique_ptr<Work> start_shift(torch::Tensor output, torch::Tensor input,
                                            int distance) const = 0;

  // The blocking forms; by default the asynchronous ones and a wait.
  virtual void all_reduce(const torch::Tensor& tensor, ReduceOp op = ReduceOp::kSum) const;
  virtual void all_gather(const torch::Tensor& output, const torch::Tensor& input,
                          Counts counts) const;
  virtual void reduce_scatter(const torch::Tensor& output, const torch::Tensor& input, ReduceOp op,
                              Counts counts) const;
  virtual void broadcast(const torch::Tensor& tensor, int root) const;
  virtual void reduce(const torch::Tensor& tensor, ReduceOp op, int root) const;
  virtual void all_to_all(const torch::Tensor& output, const torch::Tensor& input,
                          Counts output_counts, Counts input_counts) const;
  virtual void barrier() const;
  virtual void shift(const torch::Tensor& output, const torch::Tensor& input, int distance) const;
};

/// [collective] Reduces one number.
double all_reduce(const Communicator& communicator, double value, ReduceOp op = ReduceOp::kSum);
std::int64_t all_reduce(const Communicator& communicator, std::int64_t value,
                        ReduceOp op = ReduceOp::kSum);

/// [collective] The text of `root`, on every rank.
std::string broadcast(const Communicator& communicator, const std::string& text, int root);

}  // namespace eigenscale
