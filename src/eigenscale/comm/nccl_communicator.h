#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>

#include "eigenscale/comm/communicator.h"

/// What cudaStream_t points to.
struct CUstream_st;

namespace eigenscale {

/// Collectives over device memory by NCCL, on a stream of the caller. Only in builds with NCCL
/// (EIGENSCALE_WITH_NCCL). Takes raw pointers, so it serves a libtorch with and without CUDA. The
/// calls enqueue and return; `wait()` returns when the stream has run them. Neither they nor the
/// wait can hang on a fault that NCCL has noticed: its error state is polled, and on an error the
/// communicator is aborted and CommunicationError names the call and its bytes. Used by one thread
/// at a time.
///
/// Destructors only let go: freeing a communicator of NCCL is collective, the Environment does it
/// at finalise.
class NcclCommunicator {
 public:
  /// [collective] Over the ranks of `communicator`, which must be of host memory, with the device
  /// that is current on each; two ranks cannot share one. `stream` (null: the default stream) is
  /// borrowed and belongs to that device. OptionError (agreed) when a rank has no usable GPU.
  NcclCommunicator(const Communicator& communicator, CUstream_st* stream);
  ~NcclCommunicator();
  NcclCommunicator(NcclCommunicator&&) noexcept;
  NcclCommunicator& operator=(NcclCommunicator&&) noexcept;

  int rank() const;
  int size() const;

  /// [collective] The `elements` elements at `data` on the device become their elementwise
  /// reduction over all ranks, in place. std::invalid_argument for types that NCCL does not reduce
  /// (int16, complex).
  void all_reduce(void* data, std::int64_t elements, torch::ScalarType type,
                  ReduceOp op = ReduceOp::kSum);

  /// [collective] The `elements` elements at `data` of rank `root` are copied to `data` of every
  /// rank.
  void broadcast(void* data, std::int64_t elements, torch::ScalarType type, int root);

  /// [collective with the calls since the last wait] Blocks until the stream has done all that was
  /// enqueued on it.
  void wait();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// [local] The version of the NCCL library that the program runs on, such as "2.28.9".
std::string nccl_version();

}  // namespace eigenscale
