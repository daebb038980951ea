#include "eigenscale/train/pretraining.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/train/data_parallel_step.h"
#include "eigenscale/train/plateau_rule.h"

namespace eigenscale {
namespace {

// The rows as the layers want them, samples as columns, in pieces of bounded size.
std::vector<torch::Tensor> column_chunks(const torch::Tensor& rows, std::int64_t chunk_rows) {
  std::vector<torch::Tensor> chunks;
  for (std::int64_t begin = 0; begin < rows.size(0); begin += chunk_rows) {
    const auto size = std::min(chunk_rows, rows.size(0) - begin);
    chunks.push_back(rows.narrow(0, begin, size).t().contiguous());
  }
  return chunks;
}

// Elements of all rows of all ranks.
double global_elements(const Communicator& communicator, const torch::Tensor& rows) {
  return static_cast<double>(all_reduce(communicator, rows.numel()));
}

torch::Tensor reconstruction_error(Autoencoder& autoencoder, const torch::Tensor& columns) {
  return autoencoder.decode_columns(autoencoder.encode_columns(columns)) - columns;
}

// Sum of squares in double: float would lose digits over millions of values.
double sum_of_squares(const torch::Tensor& error) {
  return error.square().sum(torch::kFloat64).item<double>();
}

std::string stop_reason(const PretrainingOptions& options, const EpochReport& report, bool plateau,
                        bool go_on) {
  if (!go_on) {
    return "request";
  }
  if (report.rmse <= options.target_rmse) {
    return "target RMSE";
  }
  if (plateau && options.stop_on_plateau) {
    return "plateau";
  }
  return report.epoch == options.max_epochs ? "epochs" : "";
}

}  // namespace

PretrainingResult pretrain(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows, const PretrainingOptions& options,
                           const std::function<bool(const EpochReport&)>& on_epoch) {
  if (autoencoder.parameters().empty() || options.max_epochs < 1) {
    return {{}, autoencoder.parameters().empty() ? "no parameters" : "epochs"};
  }
  const double elements = global_elements(communicator, rows);
  const auto chunks = column_chunks(rows, options.chunk_rows);
  DataParallelStep step(communicator, autoencoder.parameters(), options.adam);
  PlateauRule plateau(options.minimum_improvement, options.plateau_window,
                      options.plateau_first_epoch);
  PretrainingResult result;
  while (result.stopped_by.empty()) {
    const double loss = step.step([&] {
      double local = 0;
      for (const auto& columns : chunks) {
        const auto error = reconstruction_error(autoencoder, columns);
        local += 0.5 * sum_of_squares(error.detach());
        // d/dXr of 1/2 ||Xr - X||^2 is the error itself: no loss graph is needed.
        error.backward(error.detach());
      }
      return local;
    });
    if (!std::isfinite(loss)) {
      throw Error(ExitCode::kNumerical,
                  "pre-training: the loss is not finite in epoch " +
                      std::to_string(result.last.epoch + 1) +
                      "; lower the learning rate or rescale the data",
                  /*agreed=*/true);
    }
    result.last = {result.last.epoch + 1, loss, std::sqrt(2 * loss / elements)};
    const bool go_on = !on_epoch || on_epoch(result.last);
    result.stopped_by = stop_reason(options, result.last, plateau.add(result.last.loss), go_on);
  }
  return result;
}

double reconstruction_rmse(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows, std::int64_t chunk_rows) {
  torch::NoGradGuard no_grad;
  double squares = 0;
  for (const auto& columns : column_chunks(rows, chunk_rows)) {
    squares += sum_of_squares(reconstruction_error(autoencoder, columns));
  }
  return std::sqrt(all_reduce(communicator, squares) / global_elements(communicator, rows));
}

}  // namespace eigenscale
