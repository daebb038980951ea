#include "eigenscale/cluster/subspace_model.h"

#include <fstream>
#include <limits>

#include "cluster_test_support.h"
#include "eigenscale/cluster/row_labelling.h"
#include "eigenscale/cluster/subspace_dimension.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

using test::SharedDirectory;
using test::world;

SubspaceModel example_model(bool encoded) {
  SubspaceModel model;
  model.directions = random_bases(1, 40, 12, 3, torch::kFloat64)[0];  // D = 40 to 12 features
  if (encoded) {
    AutoencoderSpecification specification;
    specification.kind = EncoderKind::kPerceptron;
    specification.features = 12;
    specification.widths = {16, 7};
    model.encoder = std::make_shared<Autoencoder>(specification, torch::kFloat32, 5);
  }
  const std::int64_t features = encoded ? 7 : 12;
  model.whitening = random_bases(1, features, features, 6, torch::kFloat64)[0];
  model.constant = 0.5;
  model.scale = 2;
  model.objective = 0.25;
  model.bases = random_bases(4, encoded ? 8 : 13, 3, 4, torch::kFloat32);
  model.spectra = torch::rand({4, 5}, torch::kFloat64);
  model.sizes = torch::tensor({3, 4, 5, 6}, torch::kInt64);
  return model;
}

TEST(SubspaceModel, IsReadAsItWasWritten) {
  const SharedDirectory directory;
  const auto path = directory.path() / "subspaces.safetensors";
  const auto model = example_model(true);
  if (world().rank() == 0) {
    save_subspace_model(path, model);
  }
  world().barrier();
  const auto read = load_subspace_model(path);
  EXPECT_TRUE(read.bases.equal(model.bases));
  EXPECT_TRUE(read.directions.equal(model.directions));
  EXPECT_TRUE(read.whitening.equal(model.whitening));
  EXPECT_TRUE(read.sizes.equal(model.sizes));
  EXPECT_EQ(read.constant, 0.5);
  EXPECT_EQ(read.scale, 2);
  EXPECT_EQ(read.row_width(), 40);
  const auto rows = torch::rand({6, 12});
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(read.encoder->encode(rows).equal(model.encoder->encode(rows)));
}

TEST(SubspaceModel, AnotherFileIsRefused) {
  const SharedDirectory directory;
  const auto path = directory.path() / "other.safetensors";
  if (world().rank() == 0) {
    write_safetensors(path, {{"weight", torch::ones({2, 2})}});
  }
  world().barrier();
  EXPECT_THROW(load_subspace_model(path), InputError);
}

TEST(SubspaceModel, PartsThatDoNotFitAreRefused) {
  const SharedDirectory directory;
  const auto refused = [&](const char* name, const char* what, const auto& spoil) {
    const auto path = directory.path() / name;
    auto model = example_model(false);
    spoil(model);
    if (world().rank() == 0) {
      save_subspace_model(path, model);
    }
    world().barrier();
    try {
      load_subspace_model(path);
      ADD_FAILURE() << name << " was read";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(what));
      EXPECT_THAT(error.what(), testing::HasSubstr(name));
    }
  };
  refused("stretched", "orthonormal", [](auto& model) { model.bases *= 1.01; });
  refused("nan", "not finite",
          [](auto& model) { model.bases[1][2][0] = std::numeric_limits<float>::quiet_NaN(); });
  refused("scale", "scale 0", [](auto& model) { model.scale = 0; });
  refused("sizes", "4 clusters",
          [](auto& model) { model.sizes = torch::ones({3}, torch::kInt64); });
  refused("narrow", "do not lead to 12 features",
          [](auto& model) { model.directions = model.directions.narrow(1, 0, 11).contiguous(); });
  refused("whitening", "no whitening of 12 features",
          [](auto& model) { model.whitening = model.whitening.narrow(0, 0, 11).contiguous(); });
  refused("full", "as large as their space", [](auto& model) {
    model.bases = torch::eye(13).expand({4, 13, 13}).contiguous();
  });
}

TEST(SubspaceModel, FeaturesAreMultipliedByTheWhitening) {
  const auto all = test::random_matrix(600, 40, 6);
  const MemoryRows raw(all);
  auto model = example_model(false);
  const FeatureRows whitened(raw, 0, model);
  const auto expected = all.mm(model.directions).mm(model.whitening);
  EXPECT_LT((whitened.read({0, 600}, torch::kFloat64) - expected).abs().max().item<double>(),
            1e-13);
  model.directions = torch::Tensor();
  model.whitening = random_bases(1, 40, 40, 9, torch::kFloat64)[0];
  const FeatureRows alone(raw, 0, model);
  EXPECT_LT(
      (alone.read({0, 600}, torch::kFloat64) - all.mm(model.whitening)).abs().max().item<double>(),
      1e-13);
}

TEST(SubspaceModel, FeaturesLieBehindItsCurves) {
  const SharedDirectory directory;
  const auto path = directory.path() / "subspaces.safetensors";
  SubspaceModel model;
  const auto knots = torch::arange(4, torch::kFloat64).expand({12, 4}).contiguous();
  model.curves = {knots - 1, 2 * knots, 2 * torch::ones_like(knots)};  // 2 (x + 1)
  model.bases = random_bases(4, 12, 3, 4, torch::kFloat32);
  model.spectra = torch::rand({4, 5}, torch::kFloat64);
  model.sizes = torch::tensor({3, 4, 5, 6}, torch::kInt64);
  if (world().rank() == 0) {
    save_subspace_model(path, model);
    auto torn = model;
    torn.curves.slopes = -model.curves.slopes;
    save_subspace_model(directory.path() / "torn.safetensors", torn);
  }
  world().barrier();
  const auto read = load_subspace_model(path);
  EXPECT_EQ(read.row_width(), 12);
  const auto all = test::random_matrix(600, 12, 6);
  const MemoryRows raw(all);
  const FeatureRows features(raw, 0, read);
  EXPECT_LT((features.read({0, 600}, torch::kFloat64) - 2 * (all + 1)).abs().max().item<double>(),
            1e-13);
  EXPECT_THROW(load_subspace_model(directory.path() / "torn.safetensors"), InputError);
}

TEST(SubspaceModel, ReadsSingleRowsAsItReadsRanges) {
  const auto all = test::random_matrix(1500, 40, 6).to(torch::kFloat32);
  const MemoryRows raw(all);
  const std::vector<std::int64_t> positions{1499, 0, 3, 3, 700, 701, 511, 512, 13};
  const auto chosen = torch::tensor(positions, torch::kInt64);
  for (const bool encoded : {false, true}) {
    const auto model = example_model(encoded);
    const FeatureRows features(raw, 77, model);
    const UnitRows unit(features, model.constant);
    for (const auto type : {torch::kFloat32, torch::kFloat64}) {
      for (const RowProvider* rows :
           {static_cast<const RowProvider*>(&features), static_cast<const RowProvider*>(&unit)}) {
        const auto whole = rows->read({0, 1500}, type);
        EXPECT_TRUE(rows->read_at(positions, type).equal(whole.index_select(0, chosen)));
        EXPECT_EQ(rows->read_at({}, type).size(0), 0);
      }
    }
  }
}

// The same rows, on all ranks and on one alone, must have the same labels to the bit.
TEST(SubspaceModel, FilesOfLabelsAreTheSameOnAnyNumberOfRanks) {
  const SharedDirectory directory;
  for (const bool encoded : {false, true}) {
    const auto model = example_model(encoded);
    const auto all = test::random_matrix(1500, 40, 6).to(torch::kFloat32);
    const auto label = [&](const Communicator& communicator, const std::string& name) {
      const auto range = RowPartition(1500, communicator.size()).range(communicator.rank());
      const MemoryRows raw(all.narrow(0, range.begin, range.size()));
      const FeatureRows features(raw, range.begin, model);
      const UnitRows unit(features, model.constant);
      const auto path = directory.path() / name;
      if (communicator.rank() == 0) {
        std::filesystem::create_directories(path);
      }
      communicator.barrier();
      label_rows(communicator, unit, model.bases, path);
      return path;
    };
    const auto together = label(world(), encoded ? "a" : "b");
    const auto alone = world().split(world().rank(), 0);
    const auto separate = label(*alone, (encoded ? "c" : "d") + std::to_string(world().rank()));
    for (const char* name : {"labels.npy", "residuals.npy", "embedding.npy"}) {
      std::ifstream one(together / name, std::ios::binary);
      std::ifstream other(separate / name, std::ios::binary);
      const std::string first((std::istreambuf_iterator<char>(one)), {});
      const std::string second((std::istreambuf_iterator<char>(other)), {});
      EXPECT_GT(first.size(), 128u);
      EXPECT_TRUE(first == second) << name;
    }
  }
}

TEST(SubspaceDimension, TheElbowIsWhereTheRestFallsForTheLastTime) {
  const auto of = [](const std::vector<double>& rest) {
    std::vector<DimensionTrial> trials;
    for (std::size_t s = 0; s < rest.size(); ++s) {
      trials.push_back({static_cast<std::int64_t>(s), rest[s]});
    }
    return elbow(trials);
  };
  // D = 9, d = 6, noise .1, as measured; and without noise.
  EXPECT_EQ(of({.111, .105, .096, .084, .066, .027, .0087, .0072, .0035}), 6);
  EXPECT_EQ(of({.111, .105, .096, .084, .066, .041, 1e-8}), 6);
  // D = 30, d = 6, noise .05, one row in ten an outlier.
  EXPECT_EQ(of({.0333, .0254, .0213, .0171, .0130, .0087, .0045, .0041, .0038}), 6);
  // Images: nothing stands out.
  EXPECT_EQ(of({.01, .002, .0016, .0014, .0012, .0011}), 0);
  // What comes after the steep fall is not known yet.
  EXPECT_EQ(of({.111, .01}), 0);
}

void expect_dimension_found(std::int64_t features, double noise) {
  const auto bases = random_bases(4, features, 5, 9, torch::kFloat64);
  auto rows = torch::empty({800, features}, torch::kFloat64);
  const auto coefficients = test::random_matrix(800, 5, 11);
  for (std::int64_t i = 0; i < 800; ++i) {
    rows[i].copy_(bases[i % 4].matmul(coefficients[i] / coefficients[i].norm()));
  }
  rows += noise * test::random_matrix(800, features, 12);
  scale_to_unit_rows(rows);
  const MemoryRows held(test::own(rows));
  // One label in five is wrong: the search has to refine.
  const auto labels = torch::arange(800) % 4 * (torch::arange(800) % 5 != 0);
  const auto choice = choose_dimension(world(), held, test::own(labels), 4, torch::kFloat64);
  EXPECT_EQ(choice.dimension, 5) << features << " features, noise " << noise;
}

TEST(SubspaceDimension, IsFoundFromLabels) {
  for (const double noise : {0.0, 0.03}) {
    expect_dimension_found(20, noise);   // by eigenvectors
    expect_dimension_found(120, noise);  // by subspace iteration
  }
}

}  // namespace
}  // namespace eigenscale
