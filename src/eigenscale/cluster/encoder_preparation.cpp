#include "eigenscale/cluster/encoder_preparation.h"

#include <algorithm>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

// Reconstructions whose error is one hundredth of the largest value look good: more epochs only
// teach the autoencoder noise. Data that it cannot learn so well end on the plateau rule.
constexpr double kGoodReconstruction = 0.01;
// Half of this window stops ORL's autoencoders at an RMSE of up to 19.9 grey levels, where longer
// training still reaches the 18.2 of the authors' weights.
constexpr std::int64_t kPlateauWindow = 1000;
// About one initialisation of ORL's autoencoder in four rests at four times the RMSE of the others.
constexpr std::int64_t kInitializations = 4;
// Where neither options nor preset say what the layers are: 256 latent features of images of
// 28 x 28 to 32 x 32 pixels.
const std::vector<std::int64_t> kChannels = {16, 32, 16};
const std::vector<std::int64_t> kKernels = {5, 3, 3};

}  // namespace

AutoencoderSpecification autoencoder_specification(const ClusteringSettings& settings,
                                                   const std::vector<std::int64_t>& sample_shape,
                                                   const std::string& data) {
  AutoencoderSpecification result;
  result.kind = parse_encoder_kind(settings.encoder);
  result.features = 1;
  for (const std::int64_t size : sample_shape) {
    result.features *= size;
  }
  if (!settings.image_shape.empty()) {
    std::copy_n(settings.image_shape.begin(), 3, result.image_shape.begin());
    std::int64_t pixels = 1;
    for (const std::int64_t size : settings.image_shape) {
      pixels *= size;
    }
    if (pixels != result.features) {
      throw InputError("--image-shape is " + shape_text(settings.image_shape) +
                       " but the samples of '" + data + "' have " +
                       std::to_string(result.features) + " numbers (" + shape_text(sample_shape) +
                       ")");
    }
  }
  if (result.kind == EncoderKind::kConvolution) {
    const bool given = !settings.channels.empty() || !settings.kernels.empty();
    result.channels = given ? settings.channels : kChannels;
    result.linear_latents = settings.linear_latents;
    result.kernels = given ? settings.kernels : kKernels;
    if (settings.image_shape.empty()) {
      throw OptionError("--encoder conv needs --image-shape, such as 1x28x28");
    }
  } else if (result.kind == EncoderKind::kPerceptron) {
    result.widths = settings.channels;
  }
  check_specification(result);
  return result;
}

std::optional<PretrainingResult> prepare_encoder(
    const Placement& placement, Autoencoder& autoencoder, const torch::Tensor& rows,
    const EncoderPreparation& options, const std::function<bool(const EpochReport&)>& on_epoch) {
  const Communicator& world = placement.control();
  if (!options.pretrained.empty()) {
    on_all_ranks(world, [&] {
      load_parameters(autoencoder, read_safetensors(options.pretrained), options.pretrained);
    });
    return std::nullopt;
  }
  PretrainingOptions pretraining;
  pretraining.max_epochs = options.most_epochs;
  pretraining.stop_on_plateau = options.stop_on_plateau;
  pretraining.plateau_window = kPlateauWindow;
  pretraining.batch_size = options.batch;
  if (options.stop_on_plateau) {
    const double largest =
        all_reduce(world, rows.numel() > 0 ? rows.abs().max().item<double>() : 0.0, ReduceOp::kMax);
    pretraining.target_rmse = kGoodReconstruction * largest;
    pretraining.initializations = kInitializations;
  }
  pretraining.seed = options.seed;
  pretraining.checkpoints = options.checkpoints;
  return pretrain(placement, autoencoder, rows, pretraining, on_epoch);
}

}  // namespace eigenscale
