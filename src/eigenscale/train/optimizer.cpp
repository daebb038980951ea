#include "eigenscale/train/optimizer.h"

#include <algorithm>

#include "eigenscale/train/gradient_reducer.h"

namespace eigenscale {
namespace {

/// Of parameter, gradient and velocity together 384 KiB of floats: within a core's second cache.
constexpr std::int64_t kCachedValues = std::int64_t{32} << 10;

}  // namespace

Optimizer::Optimizer(const Communicator& communicator, const std::vector<torch::Tensor>& parameters,
                     const OptimizerOptions& options)
    : communicator_(communicator), options_(options), parameters_(trainable(parameters)) {
  for (const auto& parameter : parameters_) {
    TORCH_CHECK(parameter.is_contiguous(), "Optimizer: parameters must be contiguous");
    offsets_.push_back(values_);
    decays_.push_back(parameter.dim() >= 2 ? options.weight_decay : 0);
    values_ += parameter.numel();
  }
  owned_ = options.sharded ? RowPartition(values_, communicator.size()).range(communicator.rank())
                           : RowRange{0, values_};
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto begin = std::max(owned_.begin, offsets_[i]);
    const auto end = std::min(owned_.end, offsets_[i] + parameters_[i].numel());
    if (begin < end) {
      pieces_.push_back({i, begin - offsets_[i], end - begin, begin - owned_.begin});
    }
  }
  if (options.kind == OptimizerOptions::Kind::kAdam) {
    names_ = {"first_moment", "second_moment"};
  } else if (options.momentum != 0) {
    names_ = {"momentum"};
  }
  for (std::size_t i = 0; i < names_.size(); ++i) {
    moments_.push_back(parameters_.empty() ? torch::zeros({0})
                                           : parameters_[0].detach().new_zeros({owned_.size()}));
  }
}

void Optimizer::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  ++steps_;
  if (!pieces_.empty() && !parameters_[0].is_cpu() &&
      options_.kind == OptimizerOptions::Kind::kSgd) {
    descend_together(learning_rate);
  } else {
    for (const auto& piece : pieces_) {
      update(piece, learning_rate);
    }
  }
  if (options_.sharded && communicator_.size() > 1) {
    exchange_parameters();
  }
}

void Optimizer::update(const Piece& piece, double learning_rate) {
  const auto& whole = parameters_[piece.parameter];
  auto parameter = whole.detach().view({-1}).narrow(0, piece.first, piece.length);
  auto gradient = whole.grad().defined()
                      ? whole.grad().contiguous().view({-1}).narrow(0, piece.first, piece.length)
                      : torch::zeros_like(parameter);
  const double decay = decays_[piece.parameter];
  const auto moment = [&](std::size_t which) {
    return moments_[which].narrow(0, piece.at, piece.length);
  };
  if (options_.kind == OptimizerOptions::Kind::kAdam) {
    if (decay != 0) {
      parameter.mul_(1 - learning_rate * decay);
    }
    auto adam = options_.adam;
    adam.learning_rate = learning_rate;
    adam_update(parameter, gradient, moment(0), moment(1), steps_, adam);
    return;
  }
  // Bit by bit, so that what one operation leaves in the cache serves the next.
  const auto at_once = parameter.is_cpu() ? kCachedValues : piece.length;
  for (std::int64_t first = 0; first < piece.length; first += at_once) {
    const auto length = std::min(at_once, piece.length - first);
    descend(parameter.narrow(0, first, length), gradient.narrow(0, first, length),
            moments_.empty() ? torch::Tensor() : moment(0).narrow(0, first, length), decay,
            learning_rate);
  }
}

void Optimizer::descend(torch::Tensor parameter, torch::Tensor gradient, torch::Tensor velocity,
                        double decay, double learning_rate) const {
  if (decay != 0) {
    gradient = gradient.add(parameter, decay);
  }
  if (!velocity.defined()) {
    parameter.sub_(gradient, learning_rate);
    return;
  }
  velocity.mul_(options_.momentum).add_(gradient);
  if (options_.nesterov) {
    parameter.sub_(gradient, learning_rate).sub_(velocity, learning_rate * options_.momentum);
  } else {
    parameter.sub_(velocity, learning_rate);
  }
}

/// All pieces in a few kernels: on a device, starting one for each takes longer than they run.
void Optimizer::descend_together(double learning_rate) {
  std::vector<torch::Tensor> parameters;
  std::vector<torch::Tensor> gradients;
  std::vector<torch::Tensor> velocities;
  for (const auto& piece : pieces_) {
    const auto& whole = parameters_[piece.parameter];
    const auto run = [&](const torch::Tensor& all) {
      return all.contiguous().view({-1}).narrow(0, piece.first, piece.length);
    };
    parameters.push_back(run(whole.detach()));
    gradients.push_back(whole.grad().defined() ? run(whole.grad())
                                               : torch::zeros_like(parameters.back()));
    if (const double decay = decays_[piece.parameter]; decay != 0) {
      gradients.back() = gradients.back().add(parameters.back(), decay);
    }
    if (!moments_.empty()) {
      velocities.push_back(moments_[0].narrow(0, piece.at, piece.length));
    }
  }
  if (moments_.empty()) {
    at::_foreach_add_(parameters, gradients, -learning_rate);
    return;
  }
  at::_foreach_mul_(velocities, options_.momentum);
  at::_foreach_add_(velocities, gradients);
  if (options_.nesterov) {
    at::_foreach_add_(parameters, gradients, -learning_rate);
    at::_foreach_add_(parameters, velocities, -learning_rate * options_.momentum);
  } else {
    at::_foreach_add_(parameters, velocities, -learning_rate);
  }
}

void Optimizer::exchange_parameters() {
  auto all =
      torch::empty({values_}, moments_.empty() ? parameters_[0].options().requires_grad(false)
                                               : moments_[0].options());
  auto own = torch::empty({owned_.size()}, all.options());
  for (const auto& piece : pieces_) {
    own.narrow(0, piece.at, piece.length)
        .copy_(
            parameters_[piece.parameter].detach().view({-1}).narrow(0, piece.first, piece.length));
  }
  communicator_.all_gather(all, own, RowPartition(values_, communicator_.size()).counts());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    auto parameter = parameters_[i].detach().view({-1});
    parameter.copy_(all.narrow(0, offsets_[i], parameter.numel()));
  }
}

torch::Tensor Optimizer::moment_of(std::size_t which, std::size_t parameter) const {
  TORCH_CHECK(!options_.sharded, "Optimizer: the moments of a parameter lie on several ranks");
  const auto& whole = parameters_[parameter];
  return moments_[which].narrow(0, offsets_[parameter], whole.numel()).view(whole.sizes());
}

std::size_t Optimizer::index_of(const torch::Tensor& parameter) const {
  const auto found = std::ranges::find_if(
      parameters_, [&](const torch::Tensor& own) { return own.is_same(parameter); });
  TORCH_CHECK(found != parameters_.end(), "Optimizer: not one of its parameters");
  return static_cast<std::size_t>(found - parameters_.begin());
}

void Optimizer::exempt_from_decay(const torch::Tensor& parameter) {
  decays_[index_of(parameter)] = 0;
}

void Optimizer::clear_moments(const torch::Tensor& parameter, const torch::Tensor& which) {
  const auto index = index_of(parameter);
  for (const auto& piece : pieces_) {
    if (piece.parameter == index) {
      const auto cleared =
          which.expand(parameter.sizes()).reshape({-1}).narrow(0, piece.first, piece.length);
      for (const auto& moments : moments_) {
        moments.narrow(0, piece.at, piece.length).masked_fill_(cleared, 0);
      }
    }
  }
}

}  // namespace eigenscale
