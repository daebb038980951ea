#include "eigenscale/train/gradient_reducer.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

class ReadyHook final : public torch::autograd::FunctionPostHook {
 public:
  explicit ReadyHook(std::function<void()> action) : action_(std::move(action)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    action_();
    return outputs;
  }

 private:
  std::function<void()> action_;
};

}  // namespace

/// A hook on the node that accumulates one parameter's gradient. The parameter holds that node
/// weakly, so it is owned here, by what libtorch holds nodes with: a shared_ptr in 1.13, an
/// intrusive_ptr later.
struct GradientReducer::Hook {
  Hook(const torch::Tensor& parameter, std::function<void()> action)
      : node(torch::autograd::impl::grad_accumulator(parameter)),
        key(node->add_post_hook(std::make_unique<ReadyHook>(std::move(action)))) {}
  decltype(torch::autograd::impl::grad_accumulator(torch::Tensor())) node;
  std::uintptr_t key;
};

std::vector<torch::Tensor> trainable(const std::vector<torch::Tensor>& parameters) {
  std::vector<torch::Tensor> result;
  std::unordered_set<const void*> seen;
  for (const auto& parameter : parameters) {
    if (parameter.requires_grad() && seen.insert(parameter.unsafeGetTensorImpl()).second) {
      result.push_back(parameter);
    }
  }
  return result;
}

std::vector<std::int64_t> parameters_of_buckets(std::span<const std::int64_t> parameter_bytes,
                                                const GradientReducerOptions& options) {
  std::vector<std::int64_t> counts;
  std::int64_t bytes = 0;
  for (const auto own : parameter_bytes) {
    const auto limit = counts.size() <= 1 ? options.first_bucket_bytes : options.bucket_bytes;
    if (counts.empty() || bytes + own > limit) {
      counts.push_back(0);
      bytes = 0;
    }
    ++counts.back();
    bytes += own;
  }
  return counts;
}

GradientReducer::GradientReducer(const Placement& placement,
                                 const std::vector<torch::Tensor>& parameters,
                                 const GradientReducerOptions& options)
    : communicator_(placement.data().split(0, placement.data().rank())),
      control_(placement.on_device() ? placement.control().split(0, placement.control().rank())
                                     : nullptr),
      options_(options),
      parameters_(trainable(parameters)),
      order_(parameters_.size()) {
  for (const auto& parameter : parameters_) {
    TORCH_CHECK(parameter.scalar_type() == parameters_[0].scalar_type(),
                "GradientReducer: all parameters must have one element type");
  }
  // Backward reaches the last layers first.
  std::iota(order_.rbegin(), order_.rend(), 0);
  make_buckets();
  if (communicator_->size() > 1) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      hooks_.emplace_back(parameters_[i], [this, i] { on_ready(i); });
    }
    if (options_.progress_thread) {
      progress_ = std::make_unique<ProgressThread>();
    }
  }
}

GradientReducer::~GradientReducer() {
  for (const auto& hook : hooks_) {
    hook.node->del_post_hook(hook.key);
  }
}

void GradientReducer::make_buckets() {
  buckets_.clear();
  if (communicator_->size() == 1) {
    return;
  }
  bucket_of_.assign(parameters_.size(), 0);
  slices_.assign(parameters_.size(), {});
  std::vector<std::int64_t> bytes;
  for (const auto index : order_) {
    bytes.push_back(static_cast<std::int64_t>(parameters_[index].nbytes()));
  }
  auto next = order_.begin();
  for (const auto count : parameters_of_buckets(bytes, options_)) {
    buckets_.emplace_back().members.assign(next, next + count);
    next += count;
  }
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    auto& bucket = buckets_[b];
    std::int64_t values = 0;
    for (const auto member : bucket.members) {
      values += parameters_[member].numel();
    }
    bucket.gradients = torch::zeros(values, parameters_[0].options().requires_grad(false));
    bucket.wire = options_.wire_type ? torch::empty_like(bucket.gradients, *options_.wire_type)
                                     : bucket.gradients;
    std::int64_t offset = 0;
    for (const auto member : bucket.members) {
      const auto& parameter = parameters_[member];
      slices_[member] =
          bucket.gradients.narrow(0, offset, parameter.numel()).view(parameter.sizes());
      bucket_of_[member] = b;
      offset += parameter.numel();
    }
  }
}

void GradientReducer::arm() {
  armed_ = communicator_->size() > 1;
  launched_ = 0;
  ready_.clear();
  is_ready_.assign(parameters_.size(), false);
  for (auto& bucket : buckets_) {
    bucket.missing = bucket.members.size();
  }
}

void GradientReducer::on_ready(std::size_t parameter) {
  if (!armed_) {
    return;
  }
  if (is_ready_[parameter]) {
    throw std::logic_error(
        "GradientReducer: a gradient became ready twice in an armed backward pass; arm() belongs "
        "before the last one");
  }
  ready_.push_back(static_cast<std::int64_t>(parameter));
  is_ready_[parameter] = true;
  collect(parameter);
  --buckets_[bucket_of_[parameter]].missing;
  launch_ready();
  if (progress_ == nullptr) {
    drive();
  }
}

void GradientReducer::collect(std::size_t parameter) {
  auto& gradient = parameters_[parameter].mutable_grad();
  auto& slice = slices_[parameter];
  if (!gradient.defined()) {
    slice.zero_();
  } else if (gradient.data_ptr() != slice.data_ptr()) {
    slice.copy_(gradient);
  }
  gradient = slice;
}

void GradientReducer::launch_ready() {
  // All ranks must start them in one order, whatever becomes ready first.
  while (launched_ < early_buckets() && buckets_[launched_].missing == 0) {
    launch(buckets_[launched_++]);
  }
}

std::size_t GradientReducer::early_buckets() const {
  // The same on all ranks: a blocking call never matches a non-blocking one.
  return options_.deterministic || buckets_.empty() ? buckets_.size() : buckets_.size() - 1;
}

void GradientReducer::launch(Bucket& bucket) {
  if (options_.wire_type) {
    bucket.wire.copy_(bucket.gradients);
  }
  bucket.launched = now_seconds();
  if (options_.deterministic) {
    const RowPartition partition(bucket.wire.numel(), communicator_->size());
    const auto own = partition.range(communicator_->rank()).size();
    bucket.pieces = torch::empty({communicator_->size() * own}, bucket.wire.options());
    bucket.work = communicator_->start_all_to_all(bucket.pieces, bucket.wire,
                                                  Communicator::Counts(communicator_->size(), own),
                                                  partition.counts());
  } else {
    bucket.work = communicator_->start_all_reduce(bucket.wire, ReduceOp::kSum);
  }
  if (progress_ != nullptr) {
    progress_->add(*bucket.work);
  }
}

void GradientReducer::finish(Bucket& bucket) {
  if (bucket.work != nullptr) {
    bucket.work->wait();
    bucket.work.reset();
  } else {
    bucket.launched = now_seconds();
    if (options_.wire_type) {
      bucket.wire.copy_(bucket.gradients);
    }
    communicator_->all_reduce(bucket.wire);
  }
  if (options_.deterministic) {
    const RowPartition partition(bucket.wire.numel(), communicator_->size());
    const auto pieces = bucket.pieces.view({communicator_->size(), -1});
    auto sum = pieces[0].to(bucket.gradients.scalar_type(), false, true);
    for (int rank = 1; rank < communicator_->size(); ++rank) {
      sum.add_(pieces[rank]);
    }
    communicator_->all_gather(bucket.wire, sum.to(bucket.wire.scalar_type()), partition.counts());
  }
  if (options_.wire_type) {
    bucket.gradients.copy_(bucket.wire);
  }
  record_message("gradient bucket", bucket.launched, now_seconds());
}

void GradientReducer::drive() {
  for (std::size_t b = 0; b < launched_; ++b) {
    buckets_[b].work->test();
  }
}

void GradientReducer::reduce(std::span<double> scalars) {
  if (communicator_->size() == 1) {
    for (auto& parameter : parameters_) {
      if (!parameter.grad().defined()) {
        parameter.mutable_grad() = torch::zeros_like(parameter);
      }
    }
    return;
  }
  const bool was_armed = armed_;
  if (!was_armed) {
    arm();
  }
  armed_ = false;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!is_ready_[i]) {
      collect(i);
    }
  }
  for (auto& bucket : buckets_) {
    bucket.missing = 0;
  }
  const double start = now_seconds();
  launch_ready();
  if (progress_ != nullptr) {
    progress_->release_all();
  }
  if (!scalars.empty()) {
    auto totals = torch::empty(static_cast<std::int64_t>(scalars.size()), torch::kFloat64);
    std::ranges::copy(scalars, totals.data_ptr<double>());
    control().all_reduce(totals);
    std::copy_n(totals.data_ptr<double>(), scalars.size(), scalars.begin());
  }
  for (auto& bucket : buckets_) {
    finish(bucket);
  }
  exposed_seconds_ = now_seconds() - start;
  if (!order_is_final_) {
    agree_on_order(was_armed && std::ssize(ready_) == std::ssize(parameters_));
  }
}

// Asked of all ranks in every step until there is an answer: a rank without rows may have skipped
// its passes, and cannot know whether others did.
void GradientReducer::agree_on_order(bool complete) {
  const int ranks = communicator_->size();
  const auto first =
      all_reduce(control(), std::int64_t{complete ? communicator_->rank() : ranks}, ReduceOp::kMin);
  if (parameters_.empty() || first == ranks) {
    return;
  }
  const auto count = static_cast<std::int64_t>(parameters_.size());
  auto order = torch::zeros({count}, torch::kInt64);
  if (communicator_->rank() == first) {
    std::ranges::copy(ready_, order.data_ptr<std::int64_t>());
  }
  control().broadcast(order, static_cast<int>(first));
  const auto* begin = order.data_ptr<std::int64_t>();
  set_order({begin, begin + count}, true);
}

void GradientReducer::set_order(const std::vector<std::int64_t>& order, bool is_final) {
  auto sorted = order;
  std::ranges::sort(sorted);
  std::vector<std::int64_t> expected(parameters_.size());
  std::iota(expected.begin(), expected.end(), 0);
  TORCH_CHECK(sorted == expected, "GradientReducer: the order is not a permutation");
  order_is_final_ = is_final;
  if (order != order_) {
    order_ = order;
    make_buckets();  // gradients of this step stay where they are
  }
}

double GradientReducer::gradient_norm() const {
  if (!parameters_.empty() && parameters_[0].is_cuda()) {
    std::vector<torch::Tensor> gradients;
    for (const auto& parameter : parameters_) {
      if (parameter.grad().defined()) {
        gradients.push_back(parameter.grad());
      }
    }
    return gradients.empty()
               ? 0
               : number_of(torch::stack(at::_foreach_norm(gradients, 2)).to(torch::kFloat64).norm(),
                           "gradient norm")
                     .toDouble();
  }
  double squares = 0;
  torch::Tensor on_device;  // one number comes from there, not one for each parameter
  for (const auto& parameter : parameters_) {
    if (!parameter.grad().defined()) {
      continue;
    }
    const auto norm =
        torch::linalg_vector_norm(parameter.grad(), 2, c10::nullopt, false, torch::kFloat64);
    if (control_ != nullptr) {
      on_device = on_device.defined() ? on_device + norm.square() : norm.square();
    } else {
      const double value = norm.item<double>();
      squares += value * value;
    }
  }
  return std::sqrt(on_device.defined() ? number_of(on_device, "gradient norm").toDouble()
                                       : squares);
}

void GradientReducer::scale_gradients(double factor) {
  for (auto& parameter : parameters_) {
    if (parameter.grad().defined()) {
      parameter.mutable_grad().mul_(factor);
    }
  }
}

double GradientReducer::measure_communication() {
  if (communicator_->size() == 1) {
    return 0;
  }
  std::array<double, 3> seconds{};
  std::vector<torch::Tensor> copies;
  for (const auto& bucket : buckets_) {
    copies.push_back(torch::zeros_like(bucket.wire));
  }
  for (auto& second : seconds) {
    communicator_->barrier();
    const double start = now_seconds();
    for (const auto& copy : copies) {
      communicator_->all_reduce(copy);
    }
    if (control_ != nullptr) {
      communicator_->barrier();  // the host has only enqueued so far
    }
    second = all_reduce(control(), now_seconds() - start, ReduceOp::kMax);
  }
  std::ranges::sort(seconds);
  return seconds[1];
}

}  // namespace eigenscale
