#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/comm/device_runtime.h"
#include "eigenscale/comm/nccl_communicator.h"
#include "eigenscale/comm/watchdog.h"

namespace eigenscale {

/// One communicator of NCCL with its stream: what is enqueued there, in order, and what of it is
/// still under way. Shared by the communicator, its works and the watchdog.
class NcclCommunicator::Queue final : public WatchedCalls,
                                      public std::enable_shared_from_this<Queue> {
 public:
  Queue(DeviceRuntime& runtime, int rank, int size) : runtime_(runtime), rank_(rank), size_(size) {}
  ~Queue() override;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// [collective] Meets the other ranks.
  void meet(const NcclId& id);
  /// [collective] Lets go of NCCL's communicator in order.
  void end() noexcept;

  /// [collective] Enqueues what `calls` enqueues, as one, between the current stream's past and
  /// its future behind the work's wait. `name` is a string literal. Holds `tensors` so long.
  std::unique_ptr<Work> start(const char* name, std::int64_t bytes,
                              std::vector<torch::Tensor> tensors,
                              const std::function<void()>& calls);

  DeviceRuntime& runtime() const { return runtime_; }
  NcclHandle handle() const { return handle_; }
  DeviceStream stream() const { return stream_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  std::optional<Call> oldest() override;
  void abort() noexcept override;

  /// [local] Throws what NCCL has met since.
  void check(const char* name, std::int64_t bytes);

 private:
  using Event = std::shared_ptr<void>;
  struct UnderWay {
    Call call;
    Event end;
  };
  class QueuedWork;

  Event recorded(DeviceStream stream);
  /// Waits until the host's part of a call is done: it may go on in a thread of NCCL.
  void settle(const char* name, std::int64_t bytes);
  void forget_done();
  [[noreturn]] void fail(const char* name, std::int64_t bytes, const std::string& reason);

  DeviceRuntime& runtime_;
  int rank_;
  int size_;
  std::mutex mutex_;  ///< of what the watchdog sees
  NcclHandle handle_ = nullptr;
  DeviceStream stream_ = nullptr;
  std::deque<UnderWay> under_way_;
};

}  // namespace eigenscale
