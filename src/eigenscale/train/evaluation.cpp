#include "eigenscale/train/evaluation.h"

#include <algorithm>

#include "eigenscale/comm/device_transfer.h"

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
    auto rows = placement.to_device(samples.rows.narrow(0, begin, size).to(network.weight_type()),
                                    "evaluation");
    if (scale != 1) {
      rows = rows * scale;
    }
    const auto labels = placement.to_device(samples.labels.narrow(0, begin, size), "evaluation");
    const auto output = network.forward(rows);
    const auto own_loss = torch::nn::functional::cross_entropy(
        output, labels, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
    loss += number_of(own_loss, "evaluation").toDouble();
    right += number_of((output.argmax(1) == labels).sum(), "evaluation").toLong();
  }
  const auto count = static_cast<double>(samples.count());
  return {all_reduce(placement.control(), loss) / count,
          static_cast<double>(all_reduce(placement.control(), right)) / count};
}

}  // namespace eigenscale
