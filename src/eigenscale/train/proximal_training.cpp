#include "eigenscale/train/proximal_training.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/spectral/distributed_singular_value_threshold.h"
#include "eigenscale/spectral/proximal.h"

namespace eigenscale {
namespace {

// Of the exact operator: float weights have no more digits.
constexpr double kExactTolerance = 1e-7;
constexpr std::int64_t kExactIterations = 200;

std::string short_text(double value) { return format_text("{:.3g}", value); }

double decomposition_cost(const torch::Tensor& weight) {
  const auto m = static_cast<double>(weight.size(0));
  const auto n = static_cast<double>(weight.numel()) / m;
  return m * n * std::min(m, n);
}

}  // namespace

ProximalTraining::ProximalTraining(const Placement& placement, Network& network,
                                   Optimizer& optimizer, const ProximalOptions& options,
                                   const nlohmann::json& initial)
    : placement_(placement),
      world_(placement.control()),
      network_(network),
      optimizer_(optimizer),
      options_(options) {
  auto penalties = collect_penalties(network, options, initial);
  groups_ = std::move(penalties.groups);
  matrices_ = std::move(penalties.matrices);
  for (const auto& matrix : matrices_) {
    optimizer_.exempt_from_decay(matrix.parameter);
  }
  for (const auto& group : groups_) {
    for (const auto& member : group.members) {
      if (group.lambda > 0) {
        optimizer_.exempt_from_decay(member.parameter);
      }
    }
  }
  const bool large = std::ranges::any_of(matrices_, [&](const PenalisedMatrix& matrix) {
    const auto m = matrix.parameter.size(0);
    return std::min(m, matrix.parameter.numel() / m) >= options_.distributed_from;
  });
  if (large && world_.size() > 1 && ProcessGrid::supports(world_.size())) {
    const auto [rows, columns] = ProcessGrid::squarest(world_.size());
    grid_ = std::make_shared<ProcessGrid>(world_, rows, columns);
  }
}

void ProximalTraining::set_pending(double pending, std::int64_t steps) {
  pending_ = pending;
  pending_steps_ = steps;
}

void ProximalTraining::after_step(double learning_rate, bool epoch_ends, bool last) {
  const auto& optimizer = optimizer_.options();
  pending_ += optimizer.kind == OptimizerOptions::Kind::kSgd
                  ? learning_rate / (1 - optimizer.momentum)
                  : learning_rate;
  ++pending_steps_;
  if (last || (options_.every == 0 ? epoch_ends : pending_steps_ >= options_.every)) {
    finish();
  }
}

void ProximalTraining::finish() {
  if (pending_steps_ > 0) {
    apply(pending_);
    set_pending(0, 0);
  }
}

void ProximalTraining::apply(double step) {
  const TraceSpan span("proximal step");
  const torch::NoGradGuard no_grad;
  require_finite();
  if (options_.exact) {
    shrink_exactly(step);
    return;
  }
  if (!matrices_.empty()) {
    shrink_ranks(step);
  }
  shrink_groups(step);
}

// All ranks have the same weights, so that all find the same.
void ProximalTraining::require_finite() const {
  for (const auto& group : groups_) {
    for (const auto& member : group.members) {
      if (!number_of(member.parameter.isfinite().all(), "penalties").toBool()) {
        throw Error(ExitCode::kNumerical,
                    "a weight of layer " + group.space.name() +
                        " is not finite; lower --learning-rate, set --clip-norm or look at the "
                        "scale of the data",
                    /*agreed=*/true);
      }
    }
  }
}

void ProximalTraining::deal(const std::vector<double>& costs, std::vector<torch::Tensor>& results,
                            const std::function<void(std::size_t)>& compute) const {
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](auto a, auto b) { return costs[a] > costs[b]; });
  std::vector<double> loads(world_.size(), 0);
  std::vector<int> owners(costs.size());
  for (const auto i : order) {
    const auto least = std::ranges::min_element(loads);
    *least += costs[i];
    owners[i] = static_cast<int>(least - loads.begin());
    if (owners[i] == world_.rank()) {
      compute(i);
    }
  }
  if (world_.size() > 1) {
    for (std::size_t i = 0; i < results.size(); ++i) {
      placement_.data().broadcast(results[i], owners[i]);
    }
  }
}

void ProximalTraining::shrink_ranks(double step) {
  std::vector<std::size_t> dealt;
  std::vector<double> costs;
  std::vector<torch::Tensor> results;
  for (std::size_t i = 0; i < matrices_.size(); ++i) {
    auto& matrix = matrices_[i];
    const auto weight = matrix.parameter.detach().flatten(1);
    if (grid_ && std::min(weight.size(0), weight.size(1)) >= options_.distributed_from) {
      // Through the host's memory: the solvers of several ranks work there.
      const auto low = distributed_singular_value_threshold(on_host(weight, "penalties"),
                                                            step * matrix.tau, grid_);
      put_matrix(matrix, low);
    } else {
      dealt.push_back(i);
      costs.push_back(decomposition_cost(matrix.parameter));
      results.push_back(torch::empty_like(weight, torch::MemoryFormat::Contiguous));
    }
  }
  auto ranks = torch::zeros({std::ssize(matrices_)}, torch::kInt64);
  deal(costs, results, [&](std::size_t i) {
    const auto& matrix = matrices_[dealt[i]];
    const auto low =
        singular_value_threshold(matrix.parameter.detach().flatten(1), step * matrix.tau);
    results[i].copy_(low.matrix);
    ranks[static_cast<std::int64_t>(dealt[i])] = low.rank;
  });
  if (world_.size() > 1) {
    world_.all_reduce(ranks, ReduceOp::kMax);
  }
  for (std::size_t i = 0; i < dealt.size(); ++i) {
    put_matrix(matrices_[dealt[i]],
               {results[i], ranks[static_cast<std::int64_t>(dealt[i])].item<std::int64_t>()});
  }
}

void ProximalTraining::put_matrix(PenalisedMatrix& matrix, const LowRankMatrix& low) {
  note_rank(matrix, low.rank);
  if (low.rank > 0) {
    matrix.parameter.detach().copy_(low.matrix.view(matrix.parameter.sizes()));
  }
}

/// A rank of 0 means that the penalty was not applied.
void ProximalTraining::note_rank(PenalisedMatrix& matrix, std::int64_t rank) {
  if (rank > 0) {
    matrix.rank = rank;
  } else if (!matrix.warned) {
    matrix.warned = true;
    warn("the nuclear norm penalty " + short_text(options_.nuclear_norm) + " would remove layer " +
         matrix.name +
         " altogether; its weights stay as they are. A smaller value keeps some of its rank");
  }
}

torch::Tensor ProximalTraining::rows_of(const PenalisedGroup& group) const {
  std::vector<torch::Tensor> parts;
  for (const auto& member : group.members) {
    parts.push_back(member.parameter.detach().reshape({group.space.channels, -1}));
  }
  return torch::cat(parts, 1).to(torch::kFloat64);
}

torch::Tensor ProximalTraining::threshold(const PenalisedGroup& group, const torch::Tensor& rows,
                                          double step) const {
  const double alpha = options_.sparse_mix;
  const double size = std::sqrt(group.size);
  return sparse_group_threshold(rows, step * group.lambda * (1 - alpha) * size,
                                step * group.lambda * alpha);
}

// Which rows are dead: none of a group without a penalty on neurons, whatever its ranks.
torch::Tensor ProximalTraining::put_rows(PenalisedGroup& group, const torch::Tensor& before,
                                         torch::Tensor rows) {
  auto dead = (rows == 0).all(1) & (group.lambda > 0);
  if (number_of(dead.all(), "penalties").toBool()) {
    const auto strongest = number_of(before.norm(2, {1}).argmax(), "penalties").toLong();
    if (!group.warned) {
      group.warned = true;
      warn("the group sparsity " + short_text(group.lambda) + " would remove all " +
           std::to_string(group.space.channels) + " neurons of layer " + group.space.name() +
           "; the strongest one stays. A smaller value keeps more");
    }
    rows = rows.clone();
    rows[strongest].copy_(before[strongest]);
    dead[strongest] = false;
  }
  std::int64_t first = 0;
  for (const auto& member : group.members) {
    const auto width = member.parameter.numel() / group.space.channels;
    member.parameter.detach().copy_(rows.narrow(1, first, width).reshape(member.parameter.sizes()));
    auto shape = member.parameter.sizes().vec();
    std::fill(shape.begin() + 1, shape.end(), 1);
    optimizer_.clear_moments(
        member.parameter,
        dead.repeat_interleave(member.parameter.size(0) / dead.size(0)).view(shape));
    first += width;
  }
  return dead;
}

// What reads a neuron that is zero does nothing, and gets no gradient any more. It would only count
// in the norm of the neuron it belongs to; and a network without it must train as this one.
void ProximalTraining::forget_dead(const PenalisedGroup& group, const torch::Tensor& dead) {
  if (!number_of(dead.any(), "penalties").toBool()) {
    return;
  }
  const auto parameters = network_.named_parameters();
  for (const auto& consumer : group.space.consumers) {
    auto weight = parameters[consumer.path + ".weight"];
    std::vector<std::int64_t> shape(weight.dim(), 1);
    shape[1] = weight.size(1);
    const auto columns = dead.repeat_interleave(consumer.per_channel).view(shape);
    weight.masked_fill_(columns, 0);
    optimizer_.clear_moments(weight, columns);
  }
}

void ProximalTraining::shrink_groups(double step) {
  for (auto& group : groups_) {
    if (group.lambda > 0) {
      const auto rows = rows_of(group);
      forget_dead(group, put_rows(group, rows, threshold(group, rows, step)));
    }
  }
}

ProximalTraining::ExactStep ProximalTraining::exact_threshold(const PenalisedGroup& group,
                                                              const torch::Tensor& rows,
                                                              double step) const {
  ExactStep result{.rows = {}, .ranks = {}, .gap = 0};
  const auto part = [&](const torch::Tensor& point, const GroupMember& member, std::int64_t first) {
    return point.narrow(1, first, member.parameter.numel() / group.space.channels);
  };
  // Calls work(member, its first column) for those with a penalty on their rank that leaves some.
  const auto for_each_matrix = [&](const auto& work) {
    std::int64_t first = 0;
    for (const auto& member : group.members) {
      if (member.matrix) {
        work(member, first);
      }
      first += member.parameter.numel() / group.space.channels;
    }
  };
  for_each_matrix([&](const GroupMember& member, std::int64_t first) {
    result.ranks[*member.matrix] =
        singular_value_threshold(part(rows, member, first), step * matrices_[*member.matrix].tau)
            .rank;
  });
  const auto spared = result.ranks;
  const auto ranks = [&](const torch::Tensor& point) {
    auto low_rank = point.clone();
    for_each_matrix([&](const GroupMember& member, std::int64_t first) {
      if (spared.at(*member.matrix) > 0) {
        const auto low = singular_value_threshold(part(point, member, first),
                                                  step * matrices_[*member.matrix].tau);
        part(low_rank, member, first).copy_(low.matrix);
        result.ranks[*member.matrix] = low.rank;
      }
    });
    return low_rank;
  };
  const auto sum = proximal_of_sum(
      rows, [&](const torch::Tensor& point) { return threshold(group, point, step); }, ranks,
      kExactTolerance, kExactIterations);
  result.rows = sum.point;
  const double largest = number_of(rows.abs().max(), "penalties").toDouble();
  result.gap = largest > 0 ? sum.gap / largest : 0;
  return result;
}

void ProximalTraining::shrink_exactly(double step) {
  std::vector<double> costs;
  std::vector<torch::Tensor> results;
  std::vector<torch::Tensor> before;
  for (const auto& group : groups_) {
    before.push_back(rows_of(group));
    results.push_back(torch::empty_like(before.back()));
    double cost = 0;
    for (const auto& member : group.members) {
      cost += member.matrix ? decomposition_cost(member.parameter) : 0;
    }
    costs.push_back(cost);
  }
  auto ranks = torch::zeros({std::ssize(matrices_)}, torch::kInt64);
  double gap = 0;
  deal(costs, results, [&](std::size_t i) {
    const auto exact = exact_threshold(groups_[i], before[i], step);
    results[i].copy_(exact.rows);
    gap = std::max(gap, exact.gap);
    for (const auto& [matrix, rank] : exact.ranks) {
      ranks[static_cast<std::int64_t>(matrix)] = rank;
    }
  });
  if (world_.size() > 1) {
    world_.all_reduce(ranks, ReduceOp::kMax);
    gap = all_reduce(world_, gap, ReduceOp::kMax);
  }
  for (std::size_t i = 0; i < matrices_.size(); ++i) {
    note_rank(matrices_[i], ranks[static_cast<std::int64_t>(i)].item<std::int64_t>());
  }
  if (gap > kExactTolerance && !warned_of_gap_) {
    warned_of_gap_ = true;
    warn("the exact proximal operator was left after " + std::to_string(kExactIterations) +
         " iterations, " + short_text(gap) + " of the largest weight from its fixed point");
  }
  // All results first: they were computed from the weights before any neuron was forgotten.
  std::vector<torch::Tensor> dead;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    dead.push_back(put_rows(groups_[i], before[i], results[i]));
  }
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    forget_dead(groups_[i], dead[i]);
  }
}

bool ProximalTraining::has_dead_neurons() const {
  return std::ranges::any_of(groups_, [&](const PenalisedGroup& group) {
    const auto dead = (rows_of(group) == 0).all(1);
    return !group.space.fixed && number_of(dead.any(), "penalties").toBool() &&
           !number_of(dead.all(), "penalties").toBool();
  });
}

std::vector<LayerSize> ProximalTraining::layers() const {
  std::vector<LayerSize> result;
  for (const auto& group : groups_) {
    for (const auto& producer : group.space.producers) {
      const auto live = number_of((rows_of(group) != 0).any(1).sum(), "penalties").toLong();
      result.push_back({layer_name(producer), group.space.channels, live, {}});
      for (const auto& matrix : matrices_) {
        if (matrix.name == result.back().name) {
          if (matrix.rank) {
            result.back().rank = std::min(*matrix.rank, live);
          }
        }
      }
    }
  }
  return result;
}

}  // namespace eigenscale
