#include "eigenscale/train/evaluation.h"

#include <algorithm>

namespace eigenscale {

Evaluation evaluate(const Placement& placement, Network& network, const LabelledSamples& samples,
                    double scale) {
  constexpr std::int64_t kRowsAtOnce = 128;
  const torch::NoGradGuard no_grad;
  network.eval();
  double loss = 0;
  std::int64_t right = 0;
  for (std::int64_t begin = 0; begin < samples.rows.size(0); begin += kRowsAtOnce) {
    const auto size = std::min(kRowsAtOnce, samples.rows.size(0) - begin);
    auto rows =
        samples.rows.narrow(0, begin, size).to(network.weight_type()).to(placement.device());
    if (scale != 1) {
      rows = rows * scale;
    }
    const auto labels = samples.labels.narrow(0, begin, size).to(placement.device());
    const auto output = network.forward(rows);
    loss +=
        torch::nn::functional::cross_entropy(
            output, labels, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum))
            .item<double>();
    right += (output.argmax(1) == labels).sum().item<std::int64_t>();
  }
  const auto count = static_cast<double>(samples.count());
  return {all_reduce(placement.control(), loss) / count,
          static_cast<double>(all_reduce(placement.control(), right)) / count};
}

}  // namespace eigenscale
