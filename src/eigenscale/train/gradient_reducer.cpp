#include "eigenscale/train/gradient_reducer.h"

#include <algorithm>
#include <utility>

namespace eigenscale {

GradientReducer::GradientReducer(const Communicator& communicator,
                                 std::vector<torch::Tensor> parameters)
    : communicator_(communicator), parameters_(std::move(parameters)) {
  for (const auto& parameter : parameters_) {
    TORCH_CHECK(parameter.scalar_type() == parameters_[0].scalar_type(),
                "GradientReducer: all parameters must have one element type");
    values_ += parameter.numel();
  }
}

void GradientReducer::reduce(std::span<double> scalars) {
  const auto scalar_count = static_cast<std::int64_t>(scalars.size());
  auto totals = torch::empty(scalar_count, torch::kFloat64);
  std::ranges::copy(scalars, totals.data_ptr<double>());
  const auto type = parameters_.empty() ? torch::kFloat64 : parameters_[0].scalar_type();
  const bool joined = type == torch::kFloat64;
  if (!bucket_.defined() || bucket_.numel() != values_ + (joined ? scalar_count : 0)) {
    make_bucket(type, joined ? scalar_count : 0);
  }

  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& gradient = parameters_[i].grad();
    if (gradient.defined()) {
      slices_[i].copy_(gradient);
    } else {
      slices_[i].zero_();
    }
  }
  if (joined) {
    bucket_.narrow(0, values_, scalar_count).copy_(totals);
    communicator_.all_reduce(bucket_);
    totals.copy_(bucket_.narrow(0, values_, scalar_count));
  } else {
    auto gradients_done = communicator_.start_all_reduce(bucket_, ReduceOp::kSum);
    if (scalar_count > 0) {
      communicator_.all_reduce(totals);
    }
    gradients_done->wait();
  }
  std::copy_n(totals.data_ptr<double>(), scalar_count, scalars.begin());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    auto& gradient = parameters_[i].mutable_grad();
    if (gradient.defined()) {
      gradient.copy_(slices_[i]);
    } else {
      gradient = slices_[i].clone();
    }
  }
}

void GradientReducer::make_bucket(torch::ScalarType type, std::int64_t scalar_count) {
  bucket_ = torch::empty(values_ + scalar_count,
                         torch::TensorOptions(type).device(communicator_.device()));
  slices_.clear();
  std::int64_t offset = 0;
  for (const auto& parameter : parameters_) {
    slices_.push_back(bucket_.narrow(0, offset, parameter.numel()).view(parameter.sizes()));
    offset += parameter.numel();
  }
}

}  // namespace eigenscale
