#include "eigenscale/comm/nccl_queue.h"

#include <chrono>
#include <thread>
#include <utility>

#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

constexpr auto kQueuePause = std::chrono::microseconds(20);

const std::string kQueueCalls = "communication.calls";
const std::string kQueueBytes = "communication.bytes";

}  // namespace

/// A call in the queue. Its tensors stay until the current stream goes on behind it: their memory
/// may then be used again there, and there only.
class NcclCommunicator::Queue::QueuedWork final : public Work {
 public:
  QueuedWork(std::shared_ptr<Queue> queue, const char* name, std::int64_t bytes, Event end,
             std::vector<torch::Tensor> tensors)
      : queue_(std::move(queue)),
        name_(name),
        bytes_(bytes),
        end_(std::move(end)),
        tensors_(std::move(tensors)) {}
  ~QueuedWork() override {
    if (end_ != nullptr) {
      log_error("{} of {} bytes was enqueued and never waited for", name_, bytes_);
      for (const auto& tensor : tensors_) {
        queue_->runtime_.keep(tensor, queue_->stream_);
      }
    }
  }
  QueuedWork(const QueuedWork&) = delete;
  QueuedWork& operator=(const QueuedWork&) = delete;

  void wait() override {
    queue_->check(name_, bytes_);
    queue_->runtime_.wait(queue_->runtime_.current_stream(), end_.get());
    end_.reset();
    tensors_.clear();
  }
  bool test() override {
    queue_->check(name_, bytes_);
    return queue_->runtime_.done(end_.get());
  }

 private:
  std::shared_ptr<Queue> queue_;
  const char* name_;
  std::int64_t bytes_;
  Event end_;
  std::vector<torch::Tensor> tensors_;
};

NcclCommunicator::Queue::~Queue() {
  under_way_.clear();
  if (stream_ != nullptr) {
    runtime_.free_stream(stream_);
  }
}

void NcclCommunicator::Queue::meet(const NcclId& id) {
  constexpr const char* kName = "the start of a communicator of NCCL";
  stream_ = runtime_.make_stream();
  const auto handle = runtime_.begin_communicator(id, rank_, size_);
  {
    const std::lock_guard lock(mutex_);
    handle_ = handle;
  }
  settle(kName, 0);
  watch(shared_from_this());
}

// Outside of the lock: it may wait for others, and the watchdog must be able to look meanwhile.
void NcclCommunicator::Queue::end() noexcept {
  NcclHandle handle = nullptr;
  {
    const std::lock_guard lock(mutex_);
    under_way_.clear();
    handle = std::exchange(handle_, nullptr);
  }
  if (handle != nullptr) {
    runtime_.end_communicator(handle);
  }
}

void NcclCommunicator::Queue::abort() noexcept {
  const std::lock_guard lock(mutex_);
  if (handle_ != nullptr) {
    runtime_.abort_communicator(std::exchange(handle_, nullptr));
  }
}

NcclCommunicator::Queue::Event NcclCommunicator::Queue::recorded(DeviceStream stream) {
  Event event(runtime_.make_event(),
              [runtime = &runtime_](DeviceEvent made) { runtime->free_event(made); });
  runtime_.record(event.get(), stream);
  return event;
}

std::unique_ptr<Work> NcclCommunicator::Queue::start(const char* name, std::int64_t bytes,
                                                     std::vector<torch::Tensor> tensors,
                                                     const std::function<void()>& calls) {
  const TraceSpan span(name);
  check(name, bytes);
  count(kQueueCalls, 1);
  count(kQueueBytes, bytes);
  runtime_.wait(stream_, recorded(runtime_.current_stream()).get());
  try {
    runtime_.begin_group();
    calls();
    runtime_.end_group();
  } catch (const CommunicationError& error) {
    fail(name, bytes, error.what());
  }
  settle(name, bytes);
  const auto end = recorded(stream_);
  {
    const std::lock_guard lock(mutex_);
    forget_done();
    under_way_.push_back({{name, bytes, now_seconds()}, end});
  }
  return std::make_unique<QueuedWork>(shared_from_this(), name, bytes, end, std::move(tensors));
}

void NcclCommunicator::Queue::settle(const char* name, std::int64_t bytes) {
  const WatchedCall watched(name, bytes);
  try {
    while (!runtime_.settled(handle_)) {
      std::this_thread::sleep_for(kQueuePause);
    }
  } catch (const CommunicationError& error) {
    fail(name, bytes, error.what());
  }
}

void NcclCommunicator::Queue::check(const char* name, std::int64_t bytes) {
  if (handle_ == nullptr) {
    throw CommunicationError(format_text(
        "{} of {} bytes on a communicator of NCCL that was aborted after an error", name, bytes));
  }
  if (const auto error = runtime_.asynchronous_error(handle_); !error.empty()) {
    fail(name, bytes, error);
  }
}

/// A call's time begins when it is the first: before, it waits for those ahead.
void NcclCommunicator::Queue::forget_done() {
  bool moved = false;
  while (!under_way_.empty() && runtime_.done(under_way_.front().end.get())) {
    under_way_.pop_front();
    moved = true;
  }
  if (moved && !under_way_.empty()) {
    under_way_.front().call.since = now_seconds();
  }
}

std::optional<WatchedCalls::Call> NcclCommunicator::Queue::oldest() {
  const std::lock_guard lock(mutex_);
  if (handle_ == nullptr) {
    return {};
  }
  forget_done();
  if (under_way_.empty()) {
    return {};
  }
  const auto& call = under_way_.front().call;
  if (const auto error = runtime_.asynchronous_error(handle_); !error.empty()) {
    throw CommunicationError(
        format_text("{} of {} bytes failed: {}", call.name, call.bytes, error));
  }
  return call;
}

void NcclCommunicator::Queue::fail(const char* name, std::int64_t bytes,
                                   const std::string& reason) {
  abort();
  throw CommunicationError(
      format_text("{} of {} bytes failed on rank {} of {}: {}", name, bytes, rank_, size_, reason));
}

}  // namespace eigenscale
