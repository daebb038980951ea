// A smaller network from a trained one: dead neurons out, layers of low rank factorised, verified.
#include "eigenscale/compress/compression_run.h"
#include "eigenscale/compress/onnx_export.h"
#include "eigenscale/report/program.h"

namespace {

using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-compress", "make a trained network smaller, and prove it the same",
                         ProgramOptions::Output::kRun);
  options.group("Model")
      ("model", text(), "folder with model.json and model.safetensors");
  if (has_onnx()) {
    options.group("Export")
        ("export", one_of({"onnx"}), "also write the model as: onnx");
  }
  options.group("Method")
      ("energy", above(0, 1),
       "factorise layers: keep this share of the squared singular values, such as 0.9; 1 drops what is zero; without it none is")
      ("keep-neurons", above(0, 1),
       "keep this share of each layer's neurons, the largest, instead of taking out dead ones")
      ("fine-tune-epochs", whole(0, 1000000000)->default_value(0), "train on; needs --data")
      ("learning-rate", real(0)->default_value(0.01), "of fine-tuning, falling to 0")
      ("batch-size", whole(1)->default_value(128), "samples of all ranks together");
  options.group("Data")
      ("data", text(), "training samples, for fine-tuning")
      ("labels", text(), "their classes, 0 to K - 1")
      ("validation-data", text(), "samples that measure both networks")
      ("validation-labels", text(), "their classes")
      ("scale", real(), "factor on every value; without it that of the model's training");
  return options;
}
// clang-format on

CompressionRunOptions run_options(const ProgramOptions& options) {
  CompressionRunOptions run;
  run.model = options.get<std::string>("model");
  options.read("energy", run.energy);
  options.read("keep-neurons", run.keep_neurons);
  run.onnx = options.has("export");
  options.read("data", run.data);
  options.read("labels", run.labels);
  options.read("validation-data", run.validation_data);
  options.read("validation-labels", run.validation_labels);
  if (run.data.empty() != run.labels.empty()) {
    throw OptionError("--data and --labels belong together");
  }
  if (run.validation_data.empty() != run.validation_labels.empty()) {
    throw OptionError("--validation-data and --validation-labels belong together");
  }
  options.read("scale", run.scale);
  if (run.scale == 0.0) {
    throw OptionError("--scale is 0; expected another number");
  }
  options.read("fine-tune-epochs", run.fine_tune_epochs);
  if (run.fine_tune_epochs > 0 && run.data.empty()) {
    throw OptionError("--fine-tune-epochs needs --data and --labels");
  }
  options.read("learning-rate", run.learning_rate);
  options.read("batch-size", run.batch_size);
  run.seed = options.seed();
  return run;
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, run_options, run_compression);
}
