// Deep subspace clustering of a data set: labels, embedding, metrics and a report.
#include "clustering_options.h"
#include "eigenscale/report/program.h"

namespace {

using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-cluster", "deep subspace clustering, on one rank or many",
                         ProgramOptions::Output::kResumableRun);
  options.group("Data")
      ("data", texts(), "samples: .npy, .h5:dataset, IDX[.gz], CIFAR .bin; several times: the rows of "
       "one file behind those of the other")
      ("labels", texts(), "reference labels, as many files: metrics and ablation are reported")
      ("no-ablation", flag(),
       "with labels: leave out the parts of the method alone, which cost as much again each")
      ("ablation-samples", whole(1)->default_value(100000),
       "the parts of the method alone, where the model labels the samples: on so many of them")
      ("clusters", whole(1), "number of clusters K")
      ("assign", text(), "label the data by the model of this finished run; no --clusters then")
      ("scale", real()->default_value(1), "factor on every value");
  options.group("Method")
      ("preset", one_of({"orl", "coil20", "coil100", "yaleb"}),
       "the paper's settings: orl, coil20, coil100 or yaleb")
      ("encoder", one_of({"none", "conv", "mlp", "curves"}),
       "none, conv, mlp, or curves: a monotone curve for each feature, learned with the subspaces")
      ("encoder-channels", text(),
       "conv: channels per layer, by default 16,32,16; mlp: widths, the latent size last")
      ("encoder-kernels", text(), "conv: odd kernel size per layer, by default 5,3,3")
      ("image-shape", text(), "channels x height x width of a sample (1x32x32)")
      ("self-expression", one_of({"auto", "full", "closed-form", "landmark"})->default_value("auto"),
       "full, closed-form, landmark (codes of all samples on --landmarks), or by the number of "
       "samples: auto")
      ("landmarks", whole(1), "samples that are clustered by self-expression; subspaces fitted to "
       "them label the others")
      ("landmark-draws", whole(1, 1000)->default_value(3), "draws of landmarks that compete")
      ("refine", one_of({"auto", "subspaces", "none"})->default_value("auto"),
       "subspaces: fit a subspace model to the labels and refine it over all samples; auto: where "
       "there are landmarks")
      ("affine", flag(), "subspaces need not contain the origin")
      ("whiten-features", real(0, 1), "share of the whitening of features before subspaces are sought "
       "in them: 0 none, 1 whole; default 0.5 of an encoder's and of reduced ones where there are 40 "
       "landmarks a cluster, else 0")
      ("norm", one_of({"l1", "l2"}), "of the coefficients: l1 or l2")
      ("weight-coefficient", real(0), "w1, weight of the coefficients' norm")
      ("weight-self-expression", real(0), "w2, weight of the self-expression")
      ("threshold", above(0, 1), "share of each column's L1 norm that is kept")
      ("subspace-dim", whole(1), "dimension of each subspace")
      ("affinity-power", above(0), "power of the affinity")
      ("label-assignment", one_of({"discretize", "kmeans"})->default_value("discretize"),
       "discretize or kmeans")
      ("latents", one_of({"relu", "linear"}),
       "of a conv encoder: relu or linear; default linear from 10000 samples on without --preset")
      ("pretrain-batch", whole(0),
       "samples of all ranks in a step; 0: all. Default 16; 256 from 10000 samples on without --preset")
      ("pretrain-epochs", whole(0),
       "exactly this many; without it until its rules end it (docs/clustering.md)")
      ("finetune-steps", whole(0), "steps with the coefficients")
      ("pretrained", text(), "safetensors file of a pre-trained autoencoder");
  options.group("Checkpoints")
      ("checkpoint-interval", real(0)->default_value(60),
       "seconds between checkpoints within a phase, beside those at the end of each; 0: after every "
       "pass or step")
      ("time-limit", real(0)->default_value(0),
       "seconds after which to write a checkpoint and end with 75; 0: none");
  options.execution_on_devices()
      ("grid", text(), "process grid PRxPC of the coefficients")
      ("precision", one_of({"float", "double"})->default_value("float"), "float or double");
  return options;
}
// clang-format on

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, clustering_options, run_clustering);
}
