#include "eigenscale/data/synthetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/random.h"
#include "eigenscale/data/index_permutation.h"
#include "eigenscale/data/npy_file.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kLargestMaps = std::int64_t{1} << 30;  // bytes

torch::Tensor gaussian(const CounterRandom& random, std::int64_t first_index, std::int64_t rows,
                       std::int64_t columns) {
  auto result = torch::empty({rows, columns}, torch::kFloat64);
  auto* values = result.data_ptr<double>();
  for (std::int64_t i = 0; i < result.numel(); ++i) {
    values[i] = random.normal(static_cast<std::uint64_t>(first_index + i));
  }
  return result;
}

// The orthonormal bases U_k, K x D x d.
torch::Tensor make_bases(const SyntheticOptions& options) {
  const CounterRandom random(options.seed, "synthetic bases");
  const std::int64_t size = options.ambient_dim * options.subspace_dim;
  std::vector<torch::Tensor> bases;
  for (std::int64_t k = 0; k < options.clusters; ++k) {
    const auto raw = gaussian(random, k * size, options.ambient_dim, options.subspace_dim);
    bases.push_back(std::get<0>(torch::linalg_qr(raw)));
  }
  return torch::stack(bases).contiguous();
}

// W U_k for all k. Rows of W are made in blocks: D x D need not fit into memory.
torch::Tensor mix(const torch::Tensor& bases, const SyntheticOptions& options) {
  constexpr std::int64_t kBlock = 256;
  const CounterRandom random(options.seed, "synthetic mixing");
  const std::int64_t dim = options.ambient_dim;
  const auto result = torch::empty_like(bases);
  for (std::int64_t row = 0; row < dim; row += kBlock) {
    const std::int64_t count = std::min(kBlock, dim - row);
    result.narrow(1, row, count)
        .copy_(torch::matmul(gaussian(random, row * dim, count, dim), bases));
  }
  return result;
}

void require(bool condition, const std::string& message) {
  if (!condition) {
    throw OptionError(message);
  }
}

// A point of the unit sphere of R^d, uniformly distributed: a normalised Gaussian vector.
void draw_coefficients(const CounterRandom& random, std::int64_t index,
                       std::vector<double>& coefficients) {
  double squares = 0;
  for (std::size_t l = 0; l < coefficients.size(); ++l) {
    coefficients[l] =
        random.normal(static_cast<std::uint64_t>(index), static_cast<std::uint32_t>(l));
    squares += coefficients[l] * coefficients[l];
  }
  for (double& coefficient : coefficients) {
    coefficient /= std::sqrt(squares);
  }
}

}  // namespace

void check(const SyntheticOptions& options) {
  require(options.kind == "subspaces" || options.kind == "nonlinear",
          "kind '" + options.kind + "' is unknown; known are subspaces and nonlinear");
  require(options.clusters >= 1,
          "clusters must be at least 1, not " + std::to_string(options.clusters));
  require(options.samples >= options.clusters, "samples (" + std::to_string(options.samples) +
                                                   ") must be at least as many as clusters (" +
                                                   std::to_string(options.clusters) + ")");
  require(options.subspace_dim >= 1,
          "subspace-dim must be at least 1, not " + std::to_string(options.subspace_dim));
  require(options.subspace_dim <= options.ambient_dim,
          "subspace-dim (" + std::to_string(options.subspace_dim) +
              ") must not exceed ambient-dim (" + std::to_string(options.ambient_dim) + ")");
  require(options.ambient_dim <= std::numeric_limits<std::int32_t>::max(),
          "ambient-dim must be below 2^31");
  require(std::isfinite(options.noise) && options.noise >= 0,
          "noise must be 0 or more, not " + std::to_string(options.noise));
  require(options.ambient_dim * options.subspace_dim <=
              kLargestMaps / std::int64_t{sizeof(double)} / options.clusters,
          "clusters x ambient-dim x subspace-dim (" + std::to_string(options.clusters) + " x " +
              std::to_string(options.ambient_dim) + " x " + std::to_string(options.subspace_dim) +
              ") exceeds the 2^27 numbers that every rank may hold");
}

SyntheticData::SyntheticData(const SyntheticOptions& options) : options_(options) {
  check(options);
  maps_ = make_bases(options);
  if (options.kind == "nonlinear") {
    maps_ = mix(maps_, options);
  }
}

torch::Tensor SyntheticData::labels(RowRange range) const {
  const IndexPermutation shuffled(options_.samples, options_.seed);
  const auto result = torch::empty({range.size()}, torch::kInt64);
  auto* labels = result.data_ptr<std::int64_t>();
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    labels[i - range.begin] = shuffled(i) % options_.clusters;
  }
  return result;
}

// Row by row and in a fixed order of summation: a matrix product would round a row differently with
// the number of rows it is computed with.
torch::Tensor SyntheticData::rows(RowRange range) const {
  const CounterRandom coefficient_random(options_.seed, "synthetic coefficients");
  const CounterRandom noise_random(options_.seed, "synthetic noise");
  const std::int64_t dim = options_.ambient_dim;
  const std::int64_t subspace_dim = options_.subspace_dim;
  const bool nonlinear = options_.kind == "nonlinear";
  const auto own_labels = labels(range);
  const auto* label = own_labels.data_ptr<std::int64_t>();
  auto result = torch::empty({range.size(), dim}, torch::kFloat32);
  auto* out = result.data_ptr<float>();
  std::vector<double> coefficients(subspace_dim);
  for (std::int64_t i = range.begin; i < range.end; ++i, ++label) {
    draw_coefficients(coefficient_random, i, coefficients);
    const double* map = maps_.data_ptr<double>() + *label * dim * subspace_dim;
    for (std::int64_t j = 0; j < dim; ++j, map += subspace_dim) {
      double value = 0;
      for (std::int64_t l = 0; l < subspace_dim; ++l) {
        value += map[l] * coefficients[l];
      }
      if (nonlinear) {
        value = std::tanh(value);
      }
      if (options_.noise > 0) {
        value += options_.noise *
                 noise_random.normal(static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(j));
      }
      *out++ = static_cast<float>(value);
    }
  }
  return result;
}

SyntheticRows generate_rows(const SyntheticOptions& options, RowRange range) {
  const SyntheticData data(options);
  return {data.rows(range), data.labels(range)};
}

void generate(const Communicator& communicator, const SyntheticOptions& options,
              const std::filesystem::path& directory) {
  std::unique_ptr<SyntheticData> data;
  on_all_ranks(communicator, [&] { data = std::make_unique<SyntheticData>(options); });
  on_first_rank(communicator, [&] { std::filesystem::create_directories(directory); });
  const std::int64_t own_rows =
      RowPartition(options.samples, communicator.size()).range(communicator.rank()).size();
  write_npy(communicator, directory / "data.npy", torch::kFloat32, {options.ambient_dim}, own_rows,
            [&](RowRange range) { return data->rows(range); });
  write_npy(communicator, directory / "labels.npy", torch::kInt64, {}, own_rows,
            [&](RowRange range) { return data->labels(range); });
}

}  // namespace eigenscale
