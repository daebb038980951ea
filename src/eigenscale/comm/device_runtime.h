#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// A queue of work on a device, in order; null is none.
using DeviceStream = void*;
/// A mark in a stream.
using DeviceEvent = void*;
/// One rank's end of a communicator of NCCL.
using NcclHandle = void*;
/// What ranks that want to meet must all have; made by one of them.
using NcclId = std::array<char, 128>;

/// A GPU of this host.
struct DeviceDescription {
  std::string name;    ///< such as "NVIDIA H100, 79 GiB, compute capability 9.0"
  std::string pci_id;  ///< such as "0000:1b:00.0": tells two of one name apart
};

/// Streams, events, copies and the calls of NCCL: all that code above needs of a device beside
/// libtorch's operations. Calls enqueue and return. Tensors are contiguous; counts are 64-bit. A
/// call that fails throws CommunicationError with the library's text. All but `done` and
/// `asynchronous_error` are called by the threads that compute.
///
/// The real one stands on the CUDA runtime and NCCL. Tests put another in its place.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  /// [local] Of this host, as this process sees them. None: `problem` says why.
  virtual std::vector<DeviceDescription> devices(std::string& problem) = 0;
  /// [local] Why libtorch has no tensors on them; empty where it has.
  virtual std::string libtorch_problem() = 0;
  /// [local] What tensors on the device `index` have as their device.
  virtual torch::Device tensor_device(int index) = 0;
  /// [local] Whether it lies on one of them.
  virtual bool holds(const torch::Tensor& tensor) = 0;
  /// [local] This thread's device from now on.
  virtual void use_device(int index) = 0;
  virtual std::string nccl_version() = 0;

  /// [local] The stream that libtorch's operations of this thread go to.
  virtual DeviceStream current_stream() = 0;
  /// [local] One beside it, of high priority, on this thread's device.
  virtual DeviceStream make_stream() = 0;
  virtual DeviceEvent make_event() = 0;
  /// [local] Also while in use: it goes when its work is done.
  virtual void free_stream(DeviceStream stream) noexcept = 0;
  virtual void free_event(DeviceEvent event) noexcept = 0;
  /// [local] The event is done when all that was enqueued on the stream so far is.
  virtual void record(DeviceEvent event, DeviceStream stream) = 0;
  /// [local] What is enqueued on the stream from now on runs after the event.
  virtual void wait(DeviceStream stream, DeviceEvent event) = 0;
  /// [local, from any thread]
  virtual bool done(DeviceEvent event) = 0;
  /// [local] The tensor's memory is not given to others before the stream has done what was
  /// enqueued so far, even if the tensor goes.
  virtual void keep(const torch::Tensor& tensor, DeviceStream stream) = 0;
  /// [local] From the host's memory (page-locked), on the stream.
  virtual void copy(const torch::Tensor& to, const torch::Tensor& from, DeviceStream stream) = 0;
  /// [local] The other way.
  virtual void copy_to_host(const torch::Tensor& to, const torch::Tensor& from,
                            DeviceStream stream) = 0;

  virtual NcclId make_id() = 0;
  /// [local; the ranks meet] Begins to; `settled` says when they have.
  virtual NcclHandle begin_communicator(const NcclId& id, int rank, int size) = 0;
  /// [local] Whether the host's part of the calls so far is done. Throws what went wrong.
  virtual bool settled(NcclHandle handle) = 0;
  /// [local, from any thread] What a call that was enqueued met later; empty: nothing.
  virtual std::string asynchronous_error(NcclHandle handle) = 0;
  /// [collective] Lets go of it in order.
  virtual void end_communicator(NcclHandle handle) noexcept = 0;
  /// [local, from any thread] Ends what is under way, too.
  virtual void abort_communicator(NcclHandle handle) noexcept = 0;

  // Between these two, calls of this thread are one: none waits for another.
  virtual void begin_group() = 0;
  virtual void end_group() = 0;
  /// In place.
  virtual void all_reduce(NcclHandle handle, const torch::Tensor& tensor, ReduceOp op,
                          DeviceStream stream) = 0;
  /// Only the root's `output` is written. It may be `input`.
  virtual void reduce(NcclHandle handle, const torch::Tensor& output, const torch::Tensor& input,
                      ReduceOp op, int root, DeviceStream stream) = 0;
  virtual void broadcast(NcclHandle handle, const torch::Tensor& tensor, int root,
                         DeviceStream stream) = 0;
  /// `output` holds as much as the inputs of all ranks, which are of one size.
  virtual void all_gather(NcclHandle handle, const torch::Tensor& output,
                          const torch::Tensor& input, DeviceStream stream) = 0;
  /// The other way: `input` holds one part for each rank.
  virtual void reduce_scatter(NcclHandle handle, const torch::Tensor& output,
                              const torch::Tensor& input, ReduceOp op, DeviceStream stream) = 0;
  virtual void send(NcclHandle handle, const torch::Tensor& tensor, int to,
                    DeviceStream stream) = 0;
  virtual void receive(NcclHandle handle, const torch::Tensor& tensor, int from,
                       DeviceStream stream) = 0;
};

/// The process's; null where the build has no CUDA.
DeviceRuntime* device_runtime();
/// [local] For tests: this one from now on. Returns the one before.
std::unique_ptr<DeviceRuntime> set_device_runtime(std::unique_ptr<DeviceRuntime> runtime);

/// [local] That of CUDA and NCCL; null where the build has none.
std::unique_ptr<DeviceRuntime> make_cuda_runtime();

}  // namespace eigenscale
