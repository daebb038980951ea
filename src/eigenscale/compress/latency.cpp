#include "eigenscale/compress/latency.h"

#include <algorithm>
#include <vector>

#include "eigenscale/core/clock.h"

namespace eigenscale {

double forward_latency(Network& network, std::int64_t batch, double seconds) {
  const torch::NoGradGuard no_grad;
  auto shape = network.specification()["input"].get<std::vector<std::int64_t>>();
  shape.insert(shape.begin(), batch);
  const auto samples = torch::ones(shape, network.weight_type());
  network.eval();
  std::vector<double> times;
  const double begin = now_seconds();
  while (times.empty() || now_seconds() - begin < seconds) {
    const double start = now_seconds();
    network.forward(samples);
    times.push_back(now_seconds() - start);
  }
  if (times.size() > 1) {
    times.erase(times.begin());  // the warm-up
  }
  const auto middle = times.begin() + std::ssize(times) / 2;
  std::ranges::nth_element(times, middle);
  return *middle;
}

}  // namespace eigenscale
