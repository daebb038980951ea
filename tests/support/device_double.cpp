#include "support/device_double.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <set>
#include <utility>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "support/operation_observer.h"
#include "support/tensor_sides.h"

namespace eigenscale::test {
namespace {

/// The threads of streams compute as part of calls that have been noted.
thread_local bool in_stream = false;

}  // namespace

DeviceDouble::DeviceDouble(const Options& options) : options_(options) {
  observe_operations([this](const char* what, const torch::Tensor& tensor, bool written) {
    if (!in_stream) {
      home_access(what, tensor, written);
    }
  });
  if (options.sides) {
    watch_sides([this](const std::string& violation) {
      const std::lock_guard lock(mutex_);
      report(violation);
    });
  }
}

std::vector<std::string> DeviceDouble::take_violations() {
  const std::lock_guard lock(mutex_);
  look_for_freed();
  accesses_.clear();
  return std::exchange(violations_, {});
}

void DeviceDouble::report(const std::string& violation) {
  if (options_.fatal) {
    std::fprintf(stderr, "the device's double: %s\n", violation.c_str());
    MPI_Abort(MPI_COMM_WORLD, 70);
  }
  violations_.push_back(violation);
}

std::vector<DeviceDescription> DeviceDouble::devices(std::string& problem) {
  problem.clear();
  std::vector<DeviceDescription> result;
  for (int i = 0; i < options_.devices; ++i) {
    result.push_back({"a double of a GPU", format_text("0000:{}0:00.0", i)});
  }
  return result;
}

torch::Device DeviceDouble::tensor_device(int) {
  return options_.sides ? double_device() : torch::kCPU;
}

bool DeviceDouble::holds(const torch::Tensor& tensor) {
  return options_.sides && is_on_double(tensor);
}

DeviceStream DeviceDouble::make_stream() {
  const std::lock_guard lock(mutex_);
  auto& stream = *streams_.emplace_back(std::make_unique<Stream>());
  const int number = static_cast<int>(streams_.size());
  stream.worker = std::thread([this, &stream, number] { run(stream, number); });
  return &stream;
}

// Its thread ends with its work; the object stays, since accesses name it.
void DeviceDouble::free_stream(DeviceStream stream) noexcept {
  auto& freed = *static_cast<Stream*>(stream);
  const std::lock_guard lock(mutex_);
  freed.ending = true;
  freed.changed.notify_all();
}

DeviceEvent DeviceDouble::make_event() { return new Event; }
void DeviceDouble::free_event(DeviceEvent event) noexcept { delete static_cast<Event*>(event); }

void DeviceDouble::record(DeviceEvent event, DeviceStream stream) {
  auto& mark = *static_cast<Event*>(event);
  auto& at = *static_cast<Stream*>(stream);
  const std::lock_guard lock(mutex_);
  mark.stream = &at;
  mark.at = at.enqueued;
  mark.clock = at.clock;
  mark.clock[&at] = at.enqueued;
}

void DeviceDouble::wait(DeviceStream stream, DeviceEvent event) {
  auto& waiting = *static_cast<Stream*>(stream);
  const auto& mark = *static_cast<Event*>(event);
  Stream* other = mark.stream;
  if (other == nullptr) {
    return;  // never recorded: CUDA's wait is over at once, too
  }
  if (other != &home_) {
    const auto at = mark.at;
    const auto over = [other, at] { return other->done >= at; };
    if (&waiting == &home_) {
      while (!over()) {  // the host is the stream
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    } else {
      enqueue(waiting, [over] {
        while (!over()) {
          std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
      });
    }
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [known, until] : mark.clock) {
    auto& own = waiting.clock[known];
    own = std::max(own, until);
  }
  if (&waiting == &home_) {
    forget_ordered();
  }
}

bool DeviceDouble::done(DeviceEvent event) {
  const auto& mark = *static_cast<Event*>(event);
  return mark.stream == nullptr || mark.stream == &home_ || mark.stream->done >= mark.at;
}

void DeviceDouble::keep(const torch::Tensor& tensor, DeviceStream stream) {
  auto& on = *static_cast<Stream*>(stream);
  enqueue(on, [held = tensor] {});
  const std::lock_guard lock(mutex_);
  const auto range = range_of(tensor, true);
  for (auto& access : accesses_) {
    access.kept = access.kept || (access.stream == &on && access.range.meets(range));
  }
}

void DeviceDouble::enqueue(Stream& stream, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    stream.tasks.push_back(std::move(task));
    ++stream.enqueued;
  }
  stream.changed.notify_all();
}

void DeviceDouble::run(Stream& stream, int number) {
  in_stream = true;
  torch::set_num_threads(1);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  std::minstd_rand random(static_cast<unsigned>(101 * rank + number));
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      stream.changed.wait(lock, [&] { return stream.ending || !stream.tasks.empty(); });
      if (stream.tasks.empty()) {
        return;
      }
      task = std::move(stream.tasks.front());
      stream.tasks.pop_front();
    }
    // Late, and on every rank by another while.
    std::this_thread::sleep_for(std::chrono::microseconds(
        static_cast<std::int64_t>(random()) % std::max<std::int64_t>(options_.microseconds, 1)));
    task();
    task = nullptr;  // what it holds goes before it counts as done
    ++stream.done;
  }
}

DeviceDouble::Range DeviceDouble::range_of(const torch::Tensor& tensor, bool written) {
  if (!tensor.defined() || tensor.numel() == 0 || !tensor.has_storage()) {
    return {};
  }
  std::int64_t last = 0;
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    last += (tensor.size(i) - 1) * tensor.stride(i);
  }
  const auto* begin = static_cast<const char*>(tensor.data_ptr());
  return {begin, begin + (last + 1) * static_cast<std::int64_t>(tensor.element_size()), written};
}

void DeviceDouble::home_access(const char* what, const torch::Tensor& tensor, bool written) {
  const auto range = range_of(tensor, written);
  if (range.begin == nullptr) {
    return;
  }
  const std::lock_guard lock(mutex_);
  look_for_freed();
  for (const auto& access : accesses_) {
    if (access.range.meets(range)) {
      report(format_text("early {}: {} on memory that {} is still at, with no event between",
                         written ? "write" : "read", what, access.what));
    }
  }
  ++home_.enqueued;
  auto& last = home_accesses_[{range.begin, range.end}];
  last.what = what;
  (written ? last.written : last.read) = home_.enqueued;
}

void DeviceDouble::access(Stream& stream, const std::string& what, const torch::Tensor& tensor,
                          bool written) {
  const auto range = range_of(tensor, written);
  if (range.begin == nullptr) {
    return;
  }
  const std::lock_guard lock(mutex_);
  look_for_freed();
  const auto seen = stream.clock[&home_];
  for (const auto& [piece, last] : home_accesses_) {
    const bool meets = piece.first < range.end && range.begin < piece.second;
    if (meets && (last.written > seen || (written && last.read > seen))) {
      report(format_text("missing event: {} is not ordered behind {} on the same memory", what,
                         last.what));
    }
  }
  for (const auto& other : accesses_) {
    if (other.stream != &stream && other.range.meets(range) &&
        stream.clock[other.stream] < other.at) {
      report(format_text("missing event: {} is not ordered behind {} of another stream", what,
                         other.what));
    }
  }
  accesses_.push_back(
      {what, &stream, stream.enqueued + 1, range, tensor.storage().getWeakStorageImpl(), false});
}

void DeviceDouble::require_side(const std::string& what, const torch::Tensor& tensor) {
  if (options_.sides && !take_as_double(tensor)) {
    const std::lock_guard lock(mutex_);
    report("a tensor of the host in " + what);
  }
}

void DeviceDouble::look_for_freed() {
  std::set<std::string> freed;
  std::erase_if(accesses_, [&](const Access& access) {
    if (access.kept || !access.storage.expired()) {
      return false;
    }
    freed.insert(access.what);
    return true;
  });
  for (const auto& what : freed) {
    report("freed buffer: the memory of " + what + " was let go while it was still at it");
  }
}

void DeviceDouble::forget_ordered() {
  look_for_freed();
  std::erase_if(accesses_,
                [&](const Access& access) { return home_.clock[access.stream] >= access.at; });
}

// The host's side is no access of a stream: it may go when the host has seen that the copy is done.
void DeviceDouble::copy(const torch::Tensor& to, const torch::Tensor& from, DeviceStream stream) {
  auto& on = *static_cast<Stream*>(stream);
  access(on, "a copy", to, true);
  enqueue(on, [this, to, source = from.data_ptr(), bytes = from.nbytes(),
               storage = from.storage().getWeakStorageImpl()] {
    if (storage.expired()) {
      const std::lock_guard lock(mutex_);
      report("freed buffer: the host's side of a copy was let go before it was read");
      return;
    }
    std::memcpy(to.data_ptr(), source, bytes);
  });
}

// The host's side is noted all the same: it must not be looked at before it is there.
void DeviceDouble::copy_to_host(const torch::Tensor& to, const torch::Tensor& from,
                                DeviceStream stream) {
  auto& on = *static_cast<Stream*>(stream);
  require_side("a copy to the host", from);
  access(on, "a copy to the host", from, false);
  access(on, "a copy to the host", to, true);
  enqueue(on, [to, from] { std::memcpy(to.data_ptr(), from.data_ptr(), from.nbytes()); });
}

NcclHandle DeviceDouble::begin_communicator(const NcclId& id, int rank, int size) {
  const std::lock_guard lock(mutex_);
  return transports_.emplace_back(std::make_unique<DoubleTransport>(id, rank, size)).get();
}

bool DeviceDouble::settled(NcclHandle handle) {
  const auto& transport = *static_cast<DoubleTransport*>(handle);
  if (const auto error = transport.error(); !error.empty()) {
    throw CommunicationError(error);
  }
  return transport.ready();
}

std::string DeviceDouble::asynchronous_error(NcclHandle handle) {
  return static_cast<DoubleTransport*>(handle)->error();
}

void DeviceDouble::end_communicator(NcclHandle handle) noexcept {
  static_cast<DoubleTransport*>(handle)->abort();
}

void DeviceDouble::abort_communicator(NcclHandle handle) noexcept {
  static_cast<DoubleTransport*>(handle)->abort();
}

void DeviceDouble::call(NcclHandle handle, const TransportCall& call, DeviceStream stream) {
  auto& transport = *static_cast<DoubleTransport*>(handle);
  auto& on = *static_cast<Stream*>(stream);
  require_side(call.name(), call.input);
  require_side(call.name(), call.output);
  if (call.input.defined()) {
    access(on, call.name(), call.input, call.output.defined() && call.output.is_same(call.input));
  }
  if (call.output.defined() && !(call.input.defined() && call.output.is_same(call.input))) {
    access(on, call.name(), call.output, true);
  }
  for (auto& grouped : group_) {
    if (grouped.transport == &transport && grouped.stream == &on) {
      grouped.calls.push_back(call);
      return;
    }
  }
  group_.push_back({&transport, &on, {call}});
  if (!grouping_) {
    end_group();
  }
}

void DeviceDouble::end_group() {
  grouping_ = false;
  for (auto& [transport, stream, calls] : std::exchange(group_, {})) {
    enqueue(*stream,
            [transport = transport, calls = std::move(calls)] { transport->carry_out(calls); });
  }
}

void DeviceDouble::all_reduce(NcclHandle handle, const torch::Tensor& tensor, ReduceOp op,
                              DeviceStream stream) {
  call(handle, {TransportCall::Kind::kAllReduce, tensor, tensor, op}, stream);
}
void DeviceDouble::reduce(NcclHandle handle, const torch::Tensor& output,
                          const torch::Tensor& input, ReduceOp op, int root, DeviceStream stream) {
  call(handle, {TransportCall::Kind::kReduce, output, input, op, root}, stream);
}
void DeviceDouble::broadcast(NcclHandle handle, const torch::Tensor& tensor, int root,
                             DeviceStream stream) {
  call(handle, {TransportCall::Kind::kBroadcast, tensor, tensor, ReduceOp::kSum, root}, stream);
}
void DeviceDouble::all_gather(NcclHandle handle, const torch::Tensor& output,
                              const torch::Tensor& input, DeviceStream stream) {
  call(handle, {TransportCall::Kind::kAllGather, output, input}, stream);
}
void DeviceDouble::reduce_scatter(NcclHandle handle, const torch::Tensor& output,
                                  const torch::Tensor& input, ReduceOp op, DeviceStream stream) {
  call(handle, {TransportCall::Kind::kReduceScatter, output, input, op}, stream);
}
void DeviceDouble::send(NcclHandle handle, const torch::Tensor& tensor, int to,
                        DeviceStream stream) {
  call(handle, {TransportCall::Kind::kSend, {}, tensor, ReduceOp::kSum, to}, stream);
}
void DeviceDouble::receive(NcclHandle handle, const torch::Tensor& tensor, int from,
                           DeviceStream stream) {
  call(handle, {TransportCall::Kind::kReceive, tensor, {}, ReduceOp::kSum, from}, stream);
}

}  // namespace eigenscale::test
