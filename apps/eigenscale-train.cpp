// Data-parallel training of a network on labelled samples: model, metrics, checkpoints, a report.
#include "eigenscale/report/program.h"
#include "training_options.h"

namespace {

using namespace eigenscale;

constexpr std::int64_t kMostEpochs = 1000000000;
constexpr double kMostMebibytes = 1 << 20;  // a TiB

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-train", "data-parallel training, on one rank or many",
                         ProgramOptions::Output::kResumableRun);
  options.group("Data")
      ("data", text(), "samples: .npy, .h5:dataset, IDX[.gz], CIFAR .bin")
      ("labels", text(), "their classes, 0 to K - 1")
      ("validation-data", text(), "samples that only measure")
      ("validation-labels", text(), "their classes")
      ("scale", real()->default_value(1), "factor on every value (bytes: 0.00392157)")
      ("image-shape", text(), "of flat samples that are images (3x32x32)")
      ("crop", whole(0, 4096)->default_value(0),
       "augmentation: surround by so many zeros and cut at random")
      ("flip", flag(), "augmentation: mirror half of the images");
  options.group("Network")
      ("network", text()->default_value("cnn"),
       "mlp[:WIDTH,...], cnn[:CHANNELS,...], lenet, resnet18, resnet34, resnet50 or SPEC.json")
      ("normalization", one_of({"batch", "zca", "pca-denoise", "none"})->default_value("batch"),
       "of a named network's first layer: batch, zca, pca-denoise; none: of all layers")
      ("gradient-rule", one_of({"matrix-function", "taylor", "power-iteration", "clip", "pade", "exact"})->default_value("matrix-function"),
       "of zca, pca-denoise: matrix-function, taylor, power-iteration, clip, pade or exact")
      ("groups", whole(1)->default_value(1), "of channels, whitened separately")
      ("relative-epsilon", flag(),
       "zca: the 1e-4 that is added to eigenvalues is a share of their mean (data of any scale)")
      ("precision", one_of({"float", "double", "bfloat16"})->default_value("float"), "float, double or bfloat16")
      ("tf32", flag(), "on a GPU: products of floats in TF32, with ten bits of precision");
  options.group("Method")
      ("epochs", whole(1, kMostEpochs)->default_value(10), "passes over the samples")
      ("batch-size", whole(1)->default_value(128), "samples of all ranks together")
      ("micro-batch", whole(0)->default_value(0),
       "samples of all ranks that are taken at once, gradients add up; a divisor of --batch-size; "
       "0: all")
      ("optimizer", one_of({"sgd", "adam"})->default_value("sgd"), "sgd or adam")
      ("learning-rate", real(0), "without it 0.1 for sgd and 0.001 for adam")
      ("momentum", real(0, 1)->default_value(0.9), "of sgd")
      ("nesterov", flag(), "sgd with Nesterov's momentum")
      ("weight-decay", real(0)->default_value(0), "adam: decoupled (AdamW)")
      ("schedule", one_of({"constant", "step", "cosine"})->default_value("cosine"), "constant, step or cosine")
      ("warmup-epochs", real(0)->default_value(0), "learning rate rises linearly")
      ("step-epochs", above(0)->default_value(30), "of --schedule step")
      ("step-factor", real(0)->default_value(0.1), "of --schedule step")
      ("clip-norm", real(0)->default_value(0), "largest gradient norm; 0: any")
      ("patience", whole(0)->default_value(0),
       "end after so many epochs without a better validation; 0: never");
  options.group("Smaller networks")
      ("group-sparsity", real(0)->default_value(0),
       "penalty on the norm of each neuron; docs/compression.md has strengths")
      ("group-sparsity-first", real(0), "the same for the first three layers")
      ("layer-sparsity", text(),
       "the same for layers by name: conv1=1e-5,linear*=1e-4")
      ("sparse-mix", real(0, 1)->default_value(0),
       "share of the penalty that falls on single weights, 0 to 1")
      ("nuclear-norm", real(0)->default_value(0), "penalty on the rank of each layer")
      ("prox-every", text()->default_value("epoch"),
       "when penalties act: batch, epoch or a number of steps")
      ("shrink-every", whole(0)->default_value(0),
       "epochs after which dead neurons leave the network, which makes training faster; 0: never")
      ("prox-exact", flag(), "both penalties at once instead of rank first");
  options.group("Checkpoints")
      ("checkpoint-every", whole(0)->default_value(0), "steps; 0: each epoch")
      ("keep-checkpoints", whole(1)->default_value(2), "the last so many")
      ("time-limit", real(0)->default_value(0),
       "seconds after which to write a checkpoint and end with 75; 0: none");
  options.execution_on_devices()
      ("deterministic", flag(),
       "sum gradients in rank order: no bit depends on the size of messages")
      ("first-bucket", real(0, kMostMebibytes)->default_value(1), "MiB of the first message")
      ("bucket", real(0, kMostMebibytes)->default_value(25), "MiB of the others")
      ("gradient-type", one_of({"own", "bfloat16"})->default_value("own"),
       "of gradients on the wire: own or bfloat16")
      ("sharded-optimizer", flag(), "each rank keeps 1/P of the optimiser's state")
      ("progress-thread", flag(),
       "a thread drives the messages; for networks, where a core is to spare")
      ("log-every", whole(1)->default_value(50), "steps between lines of metrics");
  return options;
}
// clang-format on

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, training_options, run_training);
}
