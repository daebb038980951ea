#include "eigenscale/cluster/encoder_preparation.h"

#include <algorithm>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

// Reconstructions whose error is one hundredth of the largest value look good: more epochs only
// teach the autoencoder noise.
constexpr double kGoodReconstruction = 0.01;

/// [local] Of pre-training that ends by its own rules. Chosen by reconstructions alone: on
/// Fashion-MNIST for many samples, where a few passes are many steps; on ORL and COIL20 (seeds 21
/// to 28) for few, where steps and not passes bring the error down, an end of small steps a tenth
/// further, and where up to half of the initialisations rest far above the others for good.
void set_schedule(PretrainingOptions& options, std::int64_t samples) {
  if (samples >= kManySamples) {
    options.learning_rate = 2e-3;
    options.steps = 2000;
  } else {
    options.learning_rate = 5e-3;
    options.rate_falls = true;
    options.steps = 12000;
    options.initializations = 4;
    options.trial_steps = 1000;
  }
}

// Where neither options nor preset say what the layers are: 256 latent features of images of
// 28 x 28 to 32 x 32 pixels.
const std::vector<std::int64_t> kChannels = {16, 32, 16};
const std::vector<std::int64_t> kKernels = {5, 3, 3};

}  // namespace

AutoencoderSpecification autoencoder_specification(const ClusteringSettings& settings,
                                                   const std::vector<std::int64_t>& sample_shape,
                                                   const std::string& data) {
  AutoencoderSpecification result;
  // Curves are no autoencoder: features are what they are of.
  result.kind = learns_curves(settings) ? EncoderKind::kNone : parse_encoder_kind(settings.encoder);
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

ClusteringSettings with_read_overrides(const ClusteringSettings& settings,
                                       ClusteringOverrides overrides, const std::string& pretrained,
                                       const std::function<void(const std::string&)>& warn) {
  const auto leave_out = [&](auto& override, const char* option, const std::string& why) {
    if (override && !why.empty()) {
      warn(std::string(option) + " changes nothing: " + why);
      override.reset();
    }
  };
  const std::string encoder = overrides.encoder.value_or(settings.encoder);
  const bool convolves = encoder == "conv";
  const bool encodes = convolves || encoder == "mlp";
  const std::string is_of = "it is of --encoder conv";
  const std::string network = encodes ? "" : is_of + " or mlp";
  leave_out(overrides.channels, "--encoder-channels", network);
  leave_out(overrides.kernels, "--encoder-kernels", convolves ? "" : is_of);
  leave_out(overrides.linear_latents, "--latents", convolves ? "" : is_of);
  const std::string training =
      encodes && !pretrained.empty() ? "--pretrained is there already" : network;
  leave_out(overrides.pretrain_batch, "--pretrain-batch", training);
  leave_out(overrides.pretrain_epochs, "--pretrain-epochs", training);
  return with_overrides(settings, overrides);
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
  set_schedule(pretraining, all_reduce(world, rows.size(0)));
  if (options.epochs) {
    pretraining.max_epochs = *options.epochs;
    pretraining.steps = 0;
    pretraining.initializations = 1;
  } else {
    const double largest =
        all_reduce(world, rows.numel() > 0 ? rows.abs().max().item<double>() : 0.0, ReduceOp::kMax);
    pretraining.target_rmse = kGoodReconstruction * largest;
  }
  pretraining.batch_size = options.batch;
  pretraining.seed = options.seed;
  pretraining.checkpoints = options.checkpoints;
  return pretrain(placement, autoencoder, rows, pretraining, on_epoch);
}

}  // namespace eigenscale
