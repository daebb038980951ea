#include "eigenscale/data/spectrum.h"

#include "data/test_files.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/npy_file.h"

namespace eigenscale::test {
namespace {

SpectrumOptions spectrum_of_37() {
  SpectrumOptions options;
  options.samples = 90;
  options.ambient_dim = 37;  // transforms of 32: the first and the last
  options.seed = 5;
  return options;
}

torch::Tensor covariance_about(const torch::Tensor& rows, const torch::Tensor& mean) {
  const auto centred = rows - mean;
  return centred.t().matmul(centred) / static_cast<double>(rows.size(0));
}

TEST(Spectrum, CovarianceAndMeanAreExact) {
  auto options = spectrum_of_37();
  for (const auto& [law, decay, rank, samples] :
       std::vector<std::tuple<std::string, double, std::int64_t, std::int64_t>>{
           {"power", 1.0, 0, 90},
           {"geometric", 0.7, 0, 90},
           {"geometric", 1.0, 5, 90},
           {"power", 2.0, 0, 20},
           {"power", 0.0, 37, 38}}) {
    SCOPED_TRACE(law + " " + std::to_string(decay));
    options.law = law;
    options.decay = decay;
    options.rank = rank;
    options.samples = samples;
    options.mean = 100;
    const SpectrumData data(options);
    const auto rows = data.make({0, samples});
    const auto variances = data.variances();
    EXPECT_EQ(variances.numel(), rank > 0 ? rank : std::min(samples - 1, std::int64_t{37}));
    EXPECT_NEAR(variances.sum().item<double>(), 37, 1e-11);
    EXPECT_NEAR((variances[1] / variances[0]).item<double>(),
                law == "power" ? std::pow(2.0, -decay) : decay, 1e-14);
    // Numbers of 200: some 2^-53 of them each.
    EXPECT_LT((rows.mean(0) - data.mean()).abs().max().item<double>(), 1e-12);
    EXPECT_GT(data.mean().min().item<double>(), 100);
    const auto directions = data.directions({0, variances.numel()});
    const auto expected = directions.t().matmul(variances.unsqueeze(1) * directions);
    const auto error = (covariance_about(rows, data.mean()) - expected).abs().max().item<double>();
    EXPECT_LT(error, 1e-12 * variances[0].item<double>());
  }
}

TEST(Spectrum, DirectionsAreOrthonormalAndSpreadOut) {
  const auto directions = SpectrumData(spectrum_of_37()).directions({0, 37});
  const auto overlap = directions.matmul(directions.t()) - torch::eye(37, torch::kFloat64);
  EXPECT_LT(overlap.abs().max().item<double>(), 1e-14);
  // Not the axes: at most a few coordinates pass by both transforms.
  EXPECT_GT((directions.abs().amax(1) < 0.9).sum().item<int>(), 30);
}

TEST(Spectrum, RowsDependOnTheirIndexAlone) {
  const SpectrumData data(spectrum_of_37());
  const auto whole = data.make({0, 90});
  const auto own = own_range(90);
  EXPECT_TRUE(torch::equal(data.make(own), whole.slice(0, own.begin, own.end)));
  auto other = spectrum_of_37();
  other.seed = 6;
  EXPECT_FALSE(torch::equal(SpectrumData(other).make({0, 90}), whole));
}

TEST(Spectrum, FilesHoldTheRowsOfEveryRank) {
  const SharedDirectory directory;
  generate_spectrum(world(), spectrum_of_37(), directory.path() / "set");
  const SpectrumData data(spectrum_of_37());
  const auto expect = [&](const char* name, const torch::Tensor& values) {
    const NpySource source(directory.path() / "set" / name);
    EXPECT_TRUE(torch::equal(source.read_rows({0, source.rows()}), values)) << name;
  };
  expect("data.npy", data.make({0, 90}).to(torch::kFloat32));
  expect("variances.npy", data.variances());
  expect("mean.npy", data.mean());
  expect("directions.npy", data.directions({0, 37}));
  world().barrier();
}

TEST(Spectrum, RefusesWhatContradictsItself) {
  const auto refused = [](auto change) {
    auto options = spectrum_of_37();
    change(options);
    EXPECT_THROW(SpectrumData{options}, OptionError);
  };
  refused([](auto& options) { options.rank = 38; });
  refused([](auto& options) { options.samples = 20, options.rank = 20; });
  refused([](auto& options) { options.samples = 1; });
  refused([](auto& options) { options.law = "linear"; });
  refused([](auto& options) { options.decay = -1; });
  refused([](auto& options) { options.law = "geometric", options.decay = 1.5; });
  refused([](auto& options) { options.law = "geometric", options.decay = 0; });
}

}  // namespace
}  // namespace eigenscale::test
