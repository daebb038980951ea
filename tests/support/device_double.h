#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "eigenscale/comm/device_runtime.h"
#include "support/double_transport.h"

namespace eigenscale::test {

/// A device without a GPU: its tensors are the host's, so libtorch computes at once, which makes
/// the host's threads together the device's first stream. Any other stream is a thread that does
/// its work late, by a different delay on every rank, and collectives travel over MPI. What would
/// go wrong on a GPU now and then is caught here every time, whatever the timing: every operation
/// of libtorch and every call on a stream is an access to memory, and two of them that touch the
/// same memory, one writing, need an event between them. Caught are
///
///   a missing event    a call on a stream, not ordered behind what computed its tensors
///   an early read      an operation, not ordered behind the call that it reads the result of
///   a freed buffer     memory let go while a call on it is not ordered before its next use
///   other calls        ranks that do not make the same calls of the same sizes in one order
///
/// and, where it is told to tell sides, what support/tensor_sides.h lists. Not seen: accesses
/// through raw pointers. One is never destroyed.
class DeviceDouble : public DeviceRuntime {
 public:
  struct Options {
    int devices = 4;
    /// The longest delay of a stream's work.
    std::int64_t microseconds = 1500;
    /// End the process with a message at the first violation; otherwise they are collected.
    bool fatal = true;
    /// Also tell tensors of the device from those of the host (support/tensor_sides.h).
    bool sides = false;
  };
  explicit DeviceDouble(const Options& options);

  /// What was caught since the last call.
  std::vector<std::string> take_violations();

  std::vector<DeviceDescription> devices(std::string& problem) override;
  std::string libtorch_problem() override { return ""; }
  torch::Device tensor_device(int) override;
  bool holds(const torch::Tensor& tensor) override;
  void use_device(int) override {}
  std::string nccl_version() override { return "0.0.0"; }
  DeviceStream current_stream() override { return &home_; }
  DeviceStream make_stream() override;
  DeviceEvent make_event() override;
  void free_stream(DeviceStream stream) noexcept override;
  void free_event(DeviceEvent event) noexcept override;
  void record(DeviceEvent event, DeviceStream stream) override;
  void wait(DeviceStream stream, DeviceEvent event) override;
  bool done(DeviceEvent event) override;
  void keep(const torch::Tensor& tensor, DeviceStream stream) override;
  void copy(const torch::Tensor& to, const torch::Tensor& from, DeviceStream stream) override;
  void copy_to_host(const torch::Tensor& to, const torch::Tensor& from,
                    DeviceStream stream) override;

  NcclId make_id() override { return DoubleTransport::make_id(); }
  NcclHandle begin_communicator(const NcclId& id, int rank, int size) override;
  bool settled(NcclHandle handle) override;
  std::string asynchronous_error(NcclHandle handle) override;
  void end_communicator(NcclHandle handle) noexcept override;
  void abort_communicator(NcclHandle handle) noexcept override;
  void begin_group() override { grouping_ = true; }
  void end_group() override;
  void all_reduce(NcclHandle handle, const torch::Tensor& tensor, ReduceOp op,
                  DeviceStream stream) override;
  void reduce(NcclHandle handle, const torch::Tensor& output, const torch::Tensor& input,
              ReduceOp op, int root, DeviceStream stream) override;
  void broadcast(NcclHandle handle, const torch::Tensor& tensor, int root,
                 DeviceStream stream) override;
  void all_gather(NcclHandle handle, const torch::Tensor& output, const torch::Tensor& input,
                  DeviceStream stream) override;
  void reduce_scatter(NcclHandle handle, const torch::Tensor& output, const torch::Tensor& input,
                      ReduceOp op, DeviceStream stream) override;
  void send(NcclHandle handle, const torch::Tensor& tensor, int to, DeviceStream stream) override;
  void receive(NcclHandle handle, const torch::Tensor& tensor, int from,
               DeviceStream stream) override;

 private:
  /// How much of each stream is known to be over.
  using Clock = std::map<const void*, std::uint64_t>;

  struct Stream {
    Clock clock;
    std::uint64_t enqueued = 0;
    std::atomic<std::uint64_t> done = 0;
    std::deque<std::function<void()>> tasks;
    bool ending = false;
    std::condition_variable_any changed;
    std::thread worker;
  };
  struct Event {
    Stream* stream = nullptr;
    std::uint64_t at = 0;
    Clock clock;
  };
  struct Range {
    const char* begin = nullptr;
    const char* end = nullptr;
    bool written = false;
    bool meets(const Range& other) const {
      return begin < other.end && other.begin < end && (written || other.written);
    }
  };
  /// A call on a stream that not every later use is ordered behind.
  struct Access {
    std::string what;
    Stream* stream;
    std::uint64_t at;
    Range range;
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
    bool kept = false;
  };
  /// Memory from its first byte to behind its last. A piece within another is one of its own: what
  /// one thread does to it says nothing of the rest.
  using Piece = std::pair<const char*, const char*>;
  /// What operations last did to a piece.
  struct HomeAccess {
    std::uint64_t read;
    std::uint64_t written;
    std::string what;
  };

  static Range range_of(const torch::Tensor& tensor, bool written);
  void enqueue(Stream& stream, std::function<void()> task);
  void run(Stream& stream, int number);
  void call(NcclHandle handle, const TransportCall& call, DeviceStream stream);
  /// Checks and notes a call's access to a tensor.
  void access(Stream& stream, const std::string& what, const torch::Tensor& tensor, bool written);
  void require_side(const std::string& what, const torch::Tensor& tensor);
  void home_access(const char* what, const torch::Tensor& tensor, bool written);
  void look_for_freed();
  void forget_ordered();
  void report(const std::string& violation);

  Options options_;
  std::recursive_mutex mutex_;
  Stream home_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Access> accesses_;
  std::map<Piece, HomeAccess> home_accesses_;
  std::vector<std::string> violations_;
  std::vector<std::unique_ptr<DoubleTransport>> transports_;

  bool grouping_ = false;
  struct Grouped {
    DoubleTransport* transport;
    Stream* stream;
    std::vector<TransportCall> calls;
  };
  std::vector<Grouped> group_;
};

}  // namespace eigenscale::test
