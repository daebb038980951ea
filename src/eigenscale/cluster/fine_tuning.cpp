#include "eigenscale/cluster/fine_tuning.h"

#include <array>
#include <cmath>
#include <string>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/train/data_parallel_step.h"

namespace eigenscale {
namespace {

torch::Tensor sum_of_squares(const torch::Tensor& values) {
  return torch::dot(values.flatten(), values.flatten());
}

FineTuningProgress progress_of(DataParallelStep& optimiser, std::int64_t step) {
  return {step, optimiser.optimizer().moments(), optimiser.reducer().order(),
          optimiser.reducer().order_is_final()};
}

void go_on(DataParallelStep& optimiser, const FineTuningProgress& from) {
  if (from.step == 0) {
    return;
  }
  for (std::size_t i = 0; i < from.moments.size(); ++i) {
    copy_into(optimiser.optimizer().moments()[i], from.moments[i], "files");
  }
  optimiser.optimizer().set_steps(from.step);
  optimiser.reducer().set_order(from.order, from.order_is_final);
}

}  // namespace

void fine_tune(
    const Placement& placement, Autoencoder& autoencoder, SelfExpressiveLayer& self_expression,
    const torch::Tensor& columns, const ClusteringSettings& settings, const AdamOptions& adam,
    const FineTuningProgress& from,
    const std::function<bool(const FineTuningStep&, const FineTuningProgress&)>& on_step) {
  const bool has_network = autoencoder.specification().kind != EncoderKind::kNone;
  DataParallelStep optimiser(placement, autoencoder, {.adam = adam});
  go_on(optimiser, from);
  for (std::int64_t step = from.step + 1; step <= settings.finetune_steps; ++step) {
    const TraceSpan span("fine-tuning step");
    optimiser.zero_gradients();
    const auto latent = autoencoder.encode_columns(columns);
    const auto detached = latent.detach();
    auto expressed = self_expression.reconstruct(detached);

    torch::Tensor reconstruction;
    torch::Tensor gradient;
    if (has_network) {
      expressed.requires_grad_(true);
      const auto decoded = autoencoder.decode_columns(expressed);
      const auto difference = decoded.detach() - columns;
      reconstruction = sum_of_squares(difference);
      decoded.backward(difference.mul_(2 * settings.weight_reconstruction));
      gradient = expressed.grad();
      expressed = expressed.detach();
    } else {
      gradient = torch::zeros_like(expressed);
    }
    const auto residual = expressed.sub_(detached);
    const auto self = sum_of_squares(residual);
    gradient.add_(residual, settings.weight_self_expression);
    auto latent_gradient = self_expression.backward_and_update(gradient, detached);
    if (has_network) {
      latent.backward(latent_gradient.sub_(residual, settings.weight_self_expression));
    }

    // Only now: a device would run dry while the host waits for a number before it hands out more.
    std::array<double, 3> terms = {
        has_network ? settings.weight_reconstruction * number_of(reconstruction, "loss").toDouble()
                    : 0,
        settings.weight_self_expression / 2 * number_of(self, "loss").toDouble(),
        self_expression.penalty()};
    optimiser.reduce(terms);
    const FineTuningStep report = {step, terms[0], terms[1], terms[2],
                                   terms[0] + terms[1] + settings.weight_coefficient * terms[2]};
    if (!std::isfinite(report.loss)) {
      throw Error(ExitCode::kNumerical,
                  "the fine-tuning loss is not finite at step " + std::to_string(step) +
                      "; check the scale of the data (--scale) or lower --weight-self-expression",
                  true);
    }
    optimiser.update();
    if (!on_step(report, progress_of(optimiser, step))) {
      return;
    }
  }
}

}  // namespace eigenscale
