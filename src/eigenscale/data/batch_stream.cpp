#include "eigenscale/data/batch_stream.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/random.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/data/index_permutation.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kLabelBytes = sizeof(std::int64_t);

// A blocked MPI call spins; this thread must leave its core to the one that computes.
void wait_asleep(Work& work, std::int64_t bytes) {
  const WatchedCall watched("exchange of a batch", bytes);
  while (!work.test()) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  work.wait();
}

torch::Tensor as_bytes(const torch::Tensor& rows) {
  return rows.contiguous().view({rows.size(0), -1}).view(torch::kUInt8);
}

/// Columns [first, first + width) of `bytes` as values of `type`. A copy: a single row counts as
/// contiguous in its place, where it need not be aligned for the type.
torch::Tensor columns_as(const torch::Tensor& bytes, std::int64_t first, std::int64_t width,
                         torch::ScalarType type) {
  return bytes.narrow(1, first, width).clone(torch::MemoryFormat::Contiguous).view(type);
}

}  // namespace

BatchStream::BatchStream(const Placement& placement, const LabelledSamples& samples,
                         const BatchStreamOptions& options, std::int64_t epoch, std::int64_t batch)
    : communicator_(placement.control().split(0, placement.control().rank())),
      transfer_(placement.on_device()
                    ? std::make_unique<DeviceTransfer>(*device_runtime(), placement.device())
                    : nullptr),
      samples_(samples),
      options_(options),
      wanted_(Place{epoch, batch}),
      place_{epoch, batch} {
  if (batch == batches_per_epoch()) {
    place_ = {epoch + 1, 0};
    wanted_ = place_;
  }
  // torch reads its number of threads when a thread first asks, and the new one will change it.
  torch::get_num_threads();
  thread_ = std::thread([this] { run(); });
}

// All ranks have asked for the same batches, so whatever exchange is under way ends.
BatchStream::~BatchStream() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::int64_t BatchStream::batches_per_epoch() const {
  return (samples_.count() + options_.batch_size - 1) / options_.batch_size;
}

Batch BatchStream::next() {
  const TraceSpan span("wait for a batch");
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return fetched_ || failure_; });
  if (failure_) {
    std::rethrow_exception(failure_);
  }
  const Fetched fetched = std::move(*fetched_);
  fetched_.reset();
  if (++place_.batch == batches_per_epoch()) {
    place_ = {place_.epoch + 1, 0};
  }
  wanted_ = place_;
  changed_.notify_all();
  lock.unlock();
  Batch batch = fetched.batch;
  if (fetched.samples) {
    batch.samples = transfer_->finish(*fetched.samples);
  }
  if (fetched.labels) {
    batch.labels = transfer_->finish(*fetched.labels);
  }
  return batch;
}

void BatchStream::run() {
  // Numbers of threads are per thread: this one must not take cores from the one that computes.
  torch::set_num_threads(1);
  set_watched_thread("next batch");
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return wanted_ || stopping_; });
    if (!wanted_) {
      return;
    }
    const Place place = *wanted_;
    wanted_.reset();
    lock.unlock();
    std::optional<Fetched> batch;
    std::exception_ptr failure;
    try {
      batch = send(fetch(place));
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    fetched_ = std::move(batch);
    failure_ = failure;
    changed_.notify_all();
    if (failure_) {
      return;
    }
  }
}

BatchStream::Fetched BatchStream::send(Batch batch) {
  Fetched result{std::move(batch), {}, {}};
  if (transfer_ != nullptr) {
    result.samples = transfer_->start(result.batch.samples, "batch");
    if (result.batch.labels.defined()) {
      result.labels = transfer_->start(result.batch.labels, "batch");
    }
  }
  return result;
}

Batch BatchStream::fetch(Place place) const {
  const CounterRandom random(options_.seed, "shuffle");
  const auto bits = random.bits(static_cast<std::uint64_t>(place.epoch));
  const IndexPermutation permutation(samples_.count(),
                                     (static_cast<std::uint64_t>(bits[0]) << 32) | bits[1]);
  const std::int64_t first = place.batch * options_.batch_size;
  const std::int64_t last = std::min(first + options_.batch_size, samples_.count());
  std::vector<std::int64_t> global;
  for (std::int64_t i = first; i < last; ++i) {
    global.push_back(permutation(i));
  }
  Batch batch = exchange(global);
  batch.samples = batch.samples.to(options_.type);
  if (options_.scale != 1) {
    batch.samples.mul_(options_.scale);
  }
  if (options_.augmentation.any()) {
    const auto part =
        RowPartition(last - first, communicator_->size()).range(communicator_->rank());
    augment(batch.samples, {global.begin() + part.begin, global.begin() + part.end},
            options_.augmentation, options_.seed, place.epoch);
  }
  return batch;
}

Batch BatchStream::exchange(const std::vector<std::int64_t>& global) const {
  const int ranks = communicator_->size();
  const int own = communicator_->rank();
  const RowPartition parts(std::ssize(global), ranks);
  const auto part = parts.range(own);
  std::vector<std::int64_t> sent_rows;
  Communicator::Counts sent(ranks, 0);
  // Rows arrive ordered by where they come from: their places in the batch, in that order.
  std::vector<std::vector<std::int64_t>> places(ranks);
  for (std::int64_t i = 0; i < std::ssize(global); ++i) {
    const int source = samples_.partition.owner(global[i]);
    if (source == own) {
      sent_rows.push_back(global[i] - samples_.partition.range(own).begin);
      ++sent[parts.owner(i)];
    }
    if (i >= part.begin && i < part.end) {
      places[source].push_back(i - part.begin);
    }
  }
  const auto index = torch::tensor(sent_rows, torch::kInt64);
  auto rows = samples_.rows.index_select(0, index);
  const bool labelled = samples_.labels.defined();
  auto labels = labelled ? samples_.labels.index_select(0, index) : torch::Tensor();
  if (ranks > 1) {
    Communicator::Counts received;
    std::vector<std::int64_t> order;
    for (const auto& from : places) {
      received.push_back(std::ssize(from));
      order.insert(order.end(), from.begin(), from.end());
    }
    // A rank without rows cannot tell their size from them.
    auto width = static_cast<std::int64_t>(rows.element_size());
    for (const auto size : samples_.shape) {
      width *= size;
    }
    const auto row_bytes =
        rows.size(0) > 0 ? as_bytes(rows) : torch::empty({0, width}, torch::kUInt8);
    auto message = row_bytes;
    if (labelled) {
      const auto label_bytes = labels.size(0) > 0 ? as_bytes(labels.unsqueeze(1))
                                                  : torch::empty({0, kLabelBytes}, torch::kUInt8);
      message = torch::cat({row_bytes, label_bytes}, 1);
    }
    auto arrived = torch::empty({part.size(), message.size(1)}, torch::kUInt8);
    wait_asleep(*communicator_->start_all_to_all(arrived, message.contiguous(), received, sent),
                message.nbytes());
    auto sorted = torch::empty_like(arrived);
    sorted.index_copy_(0, torch::tensor(order, torch::kInt64), arrived);
    rows = columns_as(sorted, 0, width, samples_.rows.scalar_type());
    if (labelled) {
      labels = columns_as(sorted, width, kLabelBytes, torch::kInt64).view({part.size()});
    }
  }
  std::vector<std::int64_t> shape = {part.size()};
  shape.insert(shape.end(), samples_.shape.begin(), samples_.shape.end());
  return {rows.view(shape), labels, std::ssize(global)};
}

}  // namespace eigenscale
