#include "eigenscale/bench/measurement.h"

#include <algorithm>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"

namespace eigenscale {
namespace {

/// [collective] Seconds a call, of the slowest rank.
double time_turn(const Communicator& world, const Contender& contender, std::int64_t calls) {
  if (contender.prepare) {
    contender.prepare();
  }
  world.barrier();
  const double begin = now_seconds();
  for (std::int64_t call = 0; call < calls; ++call) {
    contender.work();
  }
  const double seconds = now_seconds() - begin;
  world.barrier();
  return all_reduce(world, seconds, ReduceOp::kMax) / static_cast<double>(calls);
}

void check_result(const Communicator& world, const Contender& contender, double error) {
  on_all_ranks(
      world,
      [&] {
        if (!(error <= contender.bound)) {
          throw NumericalError(
              format_text("{}: the result is off by {:.3g}; expected at most {:.3g}",
                          contender.name, error, contender.bound));
        }
      },
      ExitCode::kNumerical);
}

}  // namespace

std::vector<Measurement> measure(const Communicator& world,
                                 const std::vector<Contender>& contenders,
                                 const BenchOptions& options) {
  std::vector<Measurement> result(contenders.size());
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    if (options.check && contenders[i].error) {
      result[i].error = contenders[i].error();
      check_result(world, contenders[i], *result[i].error);
    }
    if (!contenders[i].prepare && options.turn_seconds > 0) {
      time_turn(world, contenders[i], 1);
      const double once = time_turn(world, contenders[i], 1);
      result[i].calls = std::clamp<std::int64_t>(
          static_cast<std::int64_t>(options.turn_seconds / once), 1, 100000);
    }
  }
  for (std::int64_t turn = -options.warm_up; turn < options.repeats; ++turn) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const auto who = turn % 2 == 0 ? i : contenders.size() - 1 - i;
      const double seconds = time_turn(world, contenders[who], result[who].calls);
      if (turn >= 0) {
        result[who].seconds.push_back(seconds);
      }
    }
  }
  return result;
}

double rate(const Contender& contender, double seconds) {
  return (contender.flop > 0 ? contender.flop : contender.bytes) / seconds;
}

std::optional<double> fraction_of_limit(const std::vector<Contender>& contenders,
                                        const std::vector<Measurement>& measurements,
                                        std::size_t which, std::size_t turn) {
  const auto limit = std::ranges::find(contenders, contenders[which].limit, &Contender::name);
  if (contenders[which].limit.empty() || limit == contenders.end()) {
    return std::nullopt;
  }
  const auto& of_limit = measurements[limit - contenders.begin()];
  return rate(contenders[which], measurements[which].seconds[turn]) /
         rate(*limit, of_limit.seconds[turn]);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace eigenscale
