#include "eigenscale/data/synthetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/random.h"
#include "eigenscale/data/index_permutation.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/data/row_writer.h"

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

// The orthonormal basis U_k, D x d.
torch::Tensor make_basis(const SyntheticOptions& options, std::int64_t k) {
  const std::int64_t size = options.ambient_dim * options.subspace_dim;
  auto raw = gaussian(CounterRandom(options.seed, "synthetic bases"), k * size, options.ambient_dim,
                      options.subspace_dim);
  if (options.related > 0) {
    raw.narrow(1, 0, options.related)
        .copy_(gaussian(CounterRandom(options.seed, "synthetic shared directions"), 0,
                        options.ambient_dim, options.related));
  }
  return std::get<0>(torch::linalg_qr(raw));
}

torch::Tensor make_bases(const SyntheticOptions& options, RowRange range) {
  auto bases =
      torch::empty({range.size(), options.ambient_dim, options.subspace_dim}, torch::kFloat64);
  for (std::int64_t k = range.begin; k < range.end; ++k) {
    bases[k - range.begin].copy_(make_basis(options, k));
  }
  return bases;
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

void draw_normal(const CounterRandom& random, std::int64_t index, std::vector<double>& values) {
  for (std::size_t lane = 0; lane < values.size(); ++lane) {
    values[lane] =
        random.normal(static_cast<std::uint64_t>(index), static_cast<std::uint32_t>(lane));
  }
}

// A Gaussian vector becomes a point of the unit sphere, uniformly distributed.
void normalise(std::vector<double>& values) {
  const double norm =
      std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
  for (double& value : values) {
    value /= norm;
  }
}

}  // namespace

void check(const SyntheticOptions& options) {
  require(options.kind == "subspaces" || options.kind == "nonlinear",
          "kind '" + options.kind + "' is unknown; known are subspaces and nonlinear");
  require(options.clusters >= 1,
          "clusters must be at least 1, not " + std::to_string(options.clusters));
  require(options.subspace_dim >= 1,
          "subspace-dim must be at least 1, not " + std::to_string(options.subspace_dim));
  require(options.subspace_dim <= options.ambient_dim,
          "subspace-dim (" + std::to_string(options.subspace_dim) +
              ") must not exceed ambient-dim (" + std::to_string(options.ambient_dim) + ")");
  require(options.related >= 0 && options.related < options.subspace_dim,
          "related (" + std::to_string(options.related) +
              ") must be 0 or more and below subspace-dim (" +
              std::to_string(options.subspace_dim) + ")");
  require(options.ambient_dim <= std::numeric_limits<std::int32_t>::max(),
          "ambient-dim must be below 2^31");
  require(std::isfinite(options.noise) && options.noise >= 0,
          "noise must be 0 or more, not " + std::to_string(options.noise));
  require(options.ambient_dim * options.subspace_dim <=
              kLargestMaps / std::int64_t{sizeof(double)} / options.clusters,
          "clusters x ambient-dim x subspace-dim (" + std::to_string(options.clusters) + " x " +
              std::to_string(options.ambient_dim) + " x " + std::to_string(options.subspace_dim) +
              ") exceeds the 2^27 numbers that every rank may hold");
  // Last: it takes time and memory in proportion to the clusters, which are few enough now.
  const ClusterSizes sizes(options.samples, options.clusters, options.sizes, options.outliers);
}

SyntheticData::SyntheticData(const SyntheticOptions& options)
    : options_((check(options), options)),
      sizes_(options.samples, options.clusters, options.sizes, options.outliers) {
  maps_ = bases({0, options.clusters});
  if (options.kind == "nonlinear") {
    maps_ = mix(maps_, options);
  }
}

torch::Tensor SyntheticData::bases(RowRange range) const { return make_bases(options_, range); }

torch::Tensor SyntheticData::labels(RowRange range) const {
  const IndexPermutation shuffled(options_.samples, options_.seed);
  const auto result = torch::empty({range.size()}, torch::kInt64);
  auto* labels = result.data_ptr<std::int64_t>();
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    labels[i - range.begin] = sizes_.label(shuffled(i));
  }
  return result;
}

// Row by row and in a fixed order of summation: a matrix product would round a row differently with
// the number of rows it is computed with.
SyntheticRows SyntheticData::make(RowRange range) const {
  const CounterRandom coefficient_random(options_.seed, "synthetic coefficients");
  const CounterRandom outlier_random(options_.seed, "synthetic outliers");
  const CounterRandom noise_random(options_.seed, "synthetic noise");
  const std::int64_t dim = options_.ambient_dim;
  const std::int64_t subspace_dim = options_.subspace_dim;
  const bool nonlinear = options_.kind == "nonlinear";
  SyntheticRows result{torch::empty({range.size(), dim}, torch::kFloat32), labels(range)};
  const auto* label = result.labels.data_ptr<std::int64_t>();
  auto* out = result.rows.data_ptr<float>();
  std::vector<double> coefficients(subspace_dim);
  std::vector<double> values(dim);
  for (std::int64_t i = range.begin; i < range.end; ++i, ++label, out += dim) {
    if (*label < 0) {
      draw_normal(outlier_random, i, values);
      if (!nonlinear) {
        normalise(values);
      }
    } else {
      draw_normal(coefficient_random, i, coefficients);
      normalise(coefficients);
      const double* map = maps_.data_ptr<double>() + *label * dim * subspace_dim;
      for (std::int64_t j = 0; j < dim; ++j, map += subspace_dim) {
        values[j] = std::inner_product(coefficients.begin(), coefficients.end(), map, 0.0);
      }
    }
    for (std::int64_t j = 0; j < dim; ++j) {
      double value = nonlinear ? std::tanh(values[j]) : values[j];
      if (options_.noise > 0) {
        value += options_.noise *
                 noise_random.normal(static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(j));
      }
      out[j] = static_cast<float>(value);
    }
  }
  return result;
}

SyntheticRows generate_rows(const SyntheticOptions& options, RowRange range) {
  return SyntheticData(options).make(range);
}

void generate(const Communicator& communicator, const SyntheticOptions& options,
              const std::filesystem::path& directory,
              const std::function<void(std::int64_t done)>& progress) {
  constexpr std::int64_t kChunkBytes = std::int64_t{16} << 20;
  std::unique_ptr<SyntheticData> data;
  on_all_ranks(communicator, [&] { data = std::make_unique<SyntheticData>(options); });
  on_first_rank(communicator, [&] { std::filesystem::create_directories(directory); });
  const auto own_range = [&](std::int64_t rows) {
    return RowPartition(rows, communicator.size()).range(communicator.rank());
  };
  write_npy(communicator, directory / "bases.npy", torch::kFloat64,
            {options.ambient_dim, options.subspace_dim}, own_range(options.clusters).size(),
            [&](RowRange range) { return data->bases(range); });
  const std::int64_t own_rows = own_range(options.samples).size();
  const auto array = [&](const char* name, torch::ScalarType type,
                         std::vector<std::int64_t> shape) {
    return create_npy(communicator, {.path = directory / name,
                                     .dataset = "",
                                     .type = type,
                                     .row_shape = std::move(shape),
                                     .own_rows = own_rows});
  };
  const auto samples = array("data.npy", torch::kFloat32, {options.ambient_dim});
  const auto labels = array("labels.npy", torch::kInt64, {});
  const RowPartition partition(options.samples, communicator.size());
  const RowRange own = partition.range(communicator.rank());
  const std::int64_t chunk = std::max<std::int64_t>(1, kChunkBytes / (4 * options.ambient_dim));
  const auto tell = [&](std::int64_t row) {
    if (progress) {
      progress(row - own.begin);
    }
  };
  tell(own.begin);
  for (std::int64_t done = 0; done < partition.block(); done += chunk) {
    const std::int64_t begin = std::min(own.begin + done, own.end);
    const std::int64_t end = std::min(begin + chunk, own.end);
    SyntheticRows made;
    on_all_ranks(communicator, [&] { made = data->make({begin, end}); });
    samples->append(made.rows);
    labels->append(made.labels);
    tell(end);
  }
  samples->commit();
  labels->commit();
}

}  // namespace eigenscale
