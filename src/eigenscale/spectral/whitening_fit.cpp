#include "eigenscale/spectral/whitening_fit.h"

#include <algorithm>
#include <cmath>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/spectral/centring.h"
#include "eigenscale/spectral/covariance_precision.h"
#include "eigenscale/spectral/krylov_pca.h"
#include "eigenscale/spectral/streamed_covariance.h"

namespace eigenscale {
namespace {

constexpr double kDefaultEpsilonShare = 1e-6;
constexpr std::int64_t kFewFeatures = 4096;
constexpr KrylovPcaOptions kKrylov = {.tolerance = 5e-5};
// Blocks of the space that --solver auto reckons with.
constexpr std::int64_t kUsualBlocks = 4;

double settled_epsilon(double given, double variance, std::int64_t features) {
  return given >= 0 ? given : kDefaultEpsilonShare * variance / static_cast<double>(features);
}

double trace(const DistributedMatrix& matrix) {
  const auto own = own_diagonal(matrix.layout());
  return all_reduce(matrix.layout().grid->all(),
                    matrix.local().index({own.rows, own.columns}).sum().item<double>());
}

/// Rounding in single precision is blown up by the spread of the whitened directions. A digit below
/// 1e-4, the covariance_error that single precision is meant to have, the product of samples and
/// transform changes to double.
torch::ScalarType product_type(const torch::Tensor& eigenvalues, double epsilon,
                               torch::ScalarType type) {
  constexpr double kError = 1e-5;
  const double largest = eigenvalues[0].item<double>() + epsilon;
  const double spread = std::sqrt(largest / (eigenvalues[-1].item<double>() + epsilon));
  // Single precision also cannot hold the scale of data far from 1.
  const double scale = std::sqrt(largest);
  const bool holds = scale > 1e-15 && scale < 1e15 && spread * 0x1p-24 <= kError;
  return type == torch::kFloat32 && holds ? torch::kFloat32 : torch::kFloat64;
}

/// The variances by whose roots a low-rank transform divides, descending. Throws when zca meets a
/// rest without variance that no epsilon lifts.
torch::Tensor all_scales(const torch::Tensor& eigenvalues, const WhiteningFit& fit,
                         const WhiteningOptions& options, std::int64_t features,
                         torch::ScalarType type) {
  if (options.method == WhiteningMethod::kPca || options.components >= features) {
    return eigenvalues;
  }
  // The rest is a difference of sums in the type of the rows.
  const double rounding = type == torch::kFloat32 ? 0x1p-24 : 0x1p-52;
  const double zero = static_cast<double>(features) * rounding * eigenvalues[0].item<double>();
  if (fit.epsilon == 0 && fit.rest_variance <= zero) {
    throw Error(ExitCode::kInput,
                "the data do not vary beyond their " + std::to_string(options.components) +
                    " components, which no map can whiten with --epsilon 0; give a positive "
                    "--epsilon or --method pca",
                /*agreed=*/true);
  }
  const auto rest = torch::full({1}, fit.rest_variance, torch::kFloat64);
  return std::get<0>(torch::cat({eigenvalues, rest}).sort(0, /*descending=*/true));
}

/// A matrix of few columns on every rank where its rows lie, in `type`, from the rows that each
/// has.
torch::Tensor whole(const Placement& placement, const torch::Tensor& own_rows, std::int64_t rows,
                    torch::ScalarType type) {
  auto result = torch::empty({rows, own_rows.size(1)}, placement.options(type));
  placement.data().all_gather(result,
                              placement.to_device(own_rows.to(type).contiguous(), "transform"),
                              RowPartition(rows, placement.control().size()).counts());
  return result;
}

/// The covariance from products of rows in `products`, which `probe` (may be null) sees, too.
DistributedMatrix summed_covariance(const Placement& placement, const RowStream& stream,
                                    const torch::Tensor& mean,
                                    const std::shared_ptr<const ProcessGrid>& grid,
                                    const WhiteningOptions& options, torch::ScalarType products,
                                    CovarianceProbe* probe, const WhiteningEvents& events) {
  events.phase("covariance");
  GramAccumulator sum(grid, placement, stream.features(), products,
                      way_of_sum(stream.rows(), stream.features(),
                                 wanted_pairs(options, stream.features()), grid->all()));
  const Centring centring(placement.to_device(mean, "mean"));
  stream.for_each_piece([&](const RowPiece& piece) {
    const auto centred = centring(piece.rows.to(products));
    if (probe != nullptr) {
      probe->add(centred);
    }
    sum.add(centred);
    events.progress(piece);
  });
  auto covariance = sum.take_sum();
  covariance.local().div_(static_cast<double>(stream.rows()));
  return covariance;
}

/// The same in single precision where that is asked for and enough. Settles epsilon.
DistributedMatrix settled_covariance(const Placement& placement, const RowStream& stream,
                                     const torch::Tensor& mean,
                                     const std::shared_ptr<const ProcessGrid>& grid,
                                     const WhiteningOptions& options, const WhiteningEvents& events,
                                     WhiteningFit& fit) {
  const auto settle = [&](const DistributedMatrix& covariance) {
    fit.variance = trace(covariance);
    fit.epsilon = settled_epsilon(options.epsilon, fit.variance, mean.numel());
  };
  if (options.products == torch::kFloat32) {
    CovarianceProbe probe(placement, mean.numel());
    auto covariance =
        summed_covariance(placement, stream, mean, grid, options, torch::kFloat32, &probe, events);
    settle(covariance);
    const double error = probe.error(covariance, static_cast<double>(stream.rows()));
    if (is_precise_enough(covariance, error, fit.epsilon, stream.rows())) {
      fit.covariance_products = torch::kFloat32;
      fit.covariance_rounding = error;
      return covariance;
    }
    log_info("the spectrum is too wide for a covariance in single precision: once more");
  }
  auto covariance =
      summed_covariance(placement, stream, mean, grid, options, torch::kFloat64, nullptr, events);
  settle(covariance);
  return covariance;
}

}  // namespace

bool without_covariance(WhiteningSolver solver, std::int64_t components, std::int64_t features) {
  if (solver != WhiteningSolver::kAuto) {
    return solver == WhiteningSolver::kRandomized;
  }
  const std::int64_t space = kUsualBlocks * (components + kKrylov.oversampling);
  return components > 0 && features >= kFewFeatures && 4 * space <= features;
}

double randomized_bytes(std::int64_t components, std::int64_t passes, std::int64_t features,
                        std::int64_t ranks) {
  const auto width = static_cast<double>(components + kKrylov.oversampling);
  const auto rows = static_cast<double>(features);
  // A block and its products in the type of the rows, the sum of these, and what is scattered of
  // it; the blocks of the space, the newest image, and what is left of both while they are made.
  const double block = rows * width * (8 + 8 + 8 + 8);
  const double space = rows * width * static_cast<double>(passes + 4) * 8;
  return block + space / static_cast<double>(ranks);
}

WhiteningFit fit_exact(const Placement& placement, const RowStream& stream,
                       const torch::Tensor& mean, const std::shared_ptr<const ProcessGrid>& grid,
                       WhiteningOptions options, torch::ScalarType type,
                       const WhiteningEvents& events) {
  WhiteningFit fit;
  const auto covariance = settled_covariance(placement, stream, mean, grid, options, events, fit);
  options.epsilon = fit.epsilon;
  events.phase("eigenproblem");
  fit.transform = whitening_transform(covariance, options, placement);
  fit.covariance_rounding /= std::max(fit.transform.eigenvalues[0].item<double>(), 1e-300);
  fit.product = product_type(fit.transform.eigenvalues, fit.epsilon, type);
  fit.map = dense_map(placement, fit.transform.matrix, options.method == WhiteningMethod::kZca,
                      stream.rows(), fit.product);
  return fit;
}

WhiteningFit fit_randomized(const Placement& placement, const RowStream& stream,
                            const torch::Tensor& mean,
                            const std::shared_ptr<const ProcessGrid>& grid,
                            WhiteningOptions options, torch::ScalarType type, std::uint64_t seed,
                            const WhiteningEvents& events) {
  const Communicator& world = grid->all();
  const std::int64_t features = mean.numel();
  WhiteningFit fit;
  events.phase("components");
  auto krylov = kKrylov;
  krylov.components = options.components;
  krylov.blocks = options.passes;
  krylov.seed = seed;
  const auto leading = leading_components(placement, stream, mean, krylov);
  fit.low_rank = true;
  fit.variance = leading.total_variance;
  options.epsilon = fit.epsilon = settled_epsilon(options.epsilon, fit.variance, features);
  const auto left = static_cast<double>(std::max<std::int64_t>(features - options.components, 1));
  fit.rest_variance = std::max(0.0, fit.variance - leading.eigenvalues.sum().item<double>()) / left;

  auto& transform = fit.transform;
  transform.eigenvalues = leading.eigenvalues;
  transform.solver = std::to_string(leading.passes) + " passes of block Krylov, " +
                     std::to_string(options.components) + " of " + std::to_string(features) +
                     " components";
  transform.residual = leading.residuals.max().item<double>();
  require_variance(transform.eigenvalues, features, options);
  auto overlap = leading.vectors.t().matmul(leading.vectors);
  world.all_reduce(overlap);
  overlap.sub_(torch::eye(overlap.size(0), torch::kFloat64));
  transform.orthogonality = overlap.abs().max().item<double>();
  const RowPartition partition(features, world.size());
  const auto layout = feature_layout(features, options.components, grid);
  transform.components = from_row_blocks(leading.vectors, partition, layout);
  fit.product = product_type(all_scales(transform.eigenvalues, fit, options, features, type),
                             fit.epsilon, type);
  if (options.method == WhiteningMethod::kPca) {
    const auto matrix = leading.vectors * (leading.eigenvalues + fit.epsilon).rsqrt();
    transform.matrix = from_row_blocks(matrix, partition, layout);
    fit.map = whole_map(placement, matrix, features, fit.product);
  } else {
    fit.map = low_rank_zca(placement, leading.vectors, features, leading.eigenvalues,
                           fit.rest_variance, fit.epsilon, fit.product);
  }
  return fit;
}

bool transforms_whole(const Placement& placement, std::int64_t rows, std::int64_t features) {
  return !placement.on_device() && sums_whole(rows, features, placement.control().size());
}

std::unique_ptr<WhiteningMap> dense_map(const Placement& placement, const DistributedMatrix& matrix,
                                        bool symmetric, std::int64_t rows, torch::ScalarType type) {
  const std::int64_t features = matrix.layout().rows;
  const RowPartition partition(features, placement.control().size());
  if (transforms_whole(placement, rows, features)) {
    return whole_map(placement, to_row_blocks(matrix, partition), features, type);
  }
  const auto typed = matrix.to(type);
  if (!placement.on_device()) {
    return std::make_unique<DenseWhitening>(typed, symmetric);
  }
  return std::make_unique<DeviceWhitening>(
      DeviceProduct(placement, features, to_row_blocks(typed, partition)));
}

std::unique_ptr<WhiteningMap> whole_map(const Placement& placement, const torch::Tensor& own_matrix,
                                        std::int64_t features, torch::ScalarType type) {
  return std::make_unique<WholeWhitening>(whole(placement, own_matrix, features, type));
}

std::unique_ptr<WhiteningMap> low_rank_zca(const Placement& placement,
                                           const torch::Tensor& own_vectors, std::int64_t features,
                                           const torch::Tensor& eigenvalues, double rest_variance,
                                           double epsilon, torch::ScalarType type) {
  // Without any variance there is nothing to scale.
  const double rest = std::max(rest_variance + epsilon, 1e-300);
  return std::make_unique<LowRankWhitening>(
      whole(placement, own_vectors, features, type),
      placement.to_device((eigenvalues + epsilon).rsqrt().to(type), "transform"),
      1 / std::sqrt(rest));
}

}  // namespace eigenscale
