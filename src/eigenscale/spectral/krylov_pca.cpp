#include "eigenscale/spectral/krylov_pca.h"

#include <algorithm>
#include <string>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/random.h"
#include "eigenscale/linalg/symmetric_eigen.h"
#include "eigenscale/spectral/centring.h"

namespace eigenscale {
namespace {

// Overlap of orthonormal blocks that is rounding of their products.
constexpr double kOrthogonal = 1e-14;

torch::Tensor gaussian_rows(RowRange range, std::int64_t columns, std::uint64_t seed) {
  const CounterRandom random(seed, "krylov_pca.start");
  auto result = torch::empty({range.size(), columns}, torch::kFloat64);
  auto* next = result.data_ptr<double>();
  for (std::int64_t row = range.begin; row < range.end; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      *next++ = random.normal(row, static_cast<std::uint32_t>(column));
    }
  }
  return result;
}

/// S times a block of vectors, by a pass over the rows.
class CovarianceProduct {
 public:
  CovarianceProduct(const Communicator& communicator, const RowStream& stream,
                    const torch::Tensor& mean)
      : communicator_(communicator),
        stream_(stream),
        samples_(static_cast<double>(stream.rows())),
        features_(mean.numel()),
        counts_(RowPartition(features_, communicator.size()).counts()),
        centring_(mean) {}

  /// [collective] Own rows of S B from own rows of B, double, D_p x l.
  torch::Tensor operator()(const torch::Tensor& own) {
    const std::int64_t columns = own.size(1);
    auto block = torch::empty({features_, columns}, torch::kFloat64);
    communicator_.all_gather(block, own.contiguous(), counts_);
    const auto block_float = block.to(torch::kFloat32);
    auto sum = torch::zeros_like(block);
    double squares = 0;
    stream_.for_each_piece([&](const RowPiece& piece) {
      const auto& rows = piece.rows;
      const bool is_double = rows.scalar_type() == torch::kFloat64;
      const auto centred = centring_(rows);
      squares += centred.square().sum(torch::kFloat64).item<double>();
      sum.add_(centred.t().matmul(centred.matmul(is_double ? block : block_float)));
    });
    ++passes_;
    variance_ = all_reduce(communicator_, squares) / samples_;
    auto result = torch::empty({counts_[communicator_.rank()], columns}, torch::kFloat64);
    communicator_.reduce_scatter(result, sum, ReduceOp::kSum, counts_);
    return result.div_(samples_);
  }

  double variance() const { return variance_; }
  std::int64_t passes() const { return passes_; }

 private:
  const Communicator& communicator_;
  const RowStream& stream_;
  double samples_;
  std::int64_t features_;
  Communicator::Counts counts_;
  Centring centring_;
  double variance_ = 0;
  std::int64_t passes_ = 0;
};

/// A^T B over the rows of all ranks.
torch::Tensor inner(const Communicator& communicator, const torch::Tensor& a,
                    const torch::Tensor& b) {
  auto result = a.t().matmul(b).contiguous();
  communicator.all_reduce(result);
  return result;
}

}  // namespace

torch::Tensor orthonormal_columns(const Communicator& communicator, const torch::Tensor& own_rows) {
  const std::int64_t columns = own_rows.size(1);
  const auto [local, triangle] = torch::linalg_qr(own_rows);
  Communicator::Counts counts(communicator.size());
  auto sizes = torch::zeros({communicator.size()}, torch::kInt64);
  sizes[communicator.rank()] = triangle.size(0);
  communicator.all_reduce(sizes);
  for (int rank = 0; rank < communicator.size(); ++rank) {
    counts[rank] = sizes[rank].item<std::int64_t>();
  }
  auto stacked = torch::empty({sizes.sum().item<std::int64_t>(), columns}, torch::kFloat64);
  communicator.all_gather(stacked, triangle.contiguous(), counts);
  const auto top = std::get<0>(torch::linalg_qr(stacked)).contiguous();
  communicator.broadcast(top, 0);
  const auto before = sizes.narrow(0, 0, communicator.rank()).sum().item<std::int64_t>();
  return local.matmul(top.narrow(0, before, triangle.size(0)));
}

LeadingComponents leading_components(const Communicator& communicator, const RowStream& stream,
                                     const torch::Tensor& mean, const KrylovPcaOptions& options) {
  const std::int64_t samples = stream.rows();
  const std::int64_t features = mean.numel();
  const std::int64_t most = std::min(samples, features);
  if (options.components > most) {
    throw Error(ExitCode::kInput,
                std::to_string(options.components) + " components are asked of " +
                    std::to_string(samples) + " samples of " + std::to_string(features) +
                    " features, which have at most " + std::to_string(most),
                /*agreed=*/true);
  }
  const std::int64_t width = std::min(options.components + options.oversampling, most);
  // Columns of the space: with all D of them it is the whole space, and no larger one exists.
  const std::int64_t blocks =
      std::clamp<std::int64_t>((features + width - 1) / width, 1, options.blocks);
  const RowRange own = RowPartition(features, communicator.size()).range(communicator.rank());

  CovarianceProduct covariance(communicator, stream, mean);
  std::vector<torch::Tensor> basis = {
      orthonormal_columns(communicator, gaussian_rows(own, width, options.seed))};
  std::vector<torch::Tensor> images;
  std::int64_t size = width;
  while (true) {
    images.push_back(covariance(basis.back()));
    const auto next_width = std::min(width, features - size);
    if (static_cast<std::int64_t>(basis.size()) == blocks || next_width == 0) {
      break;
    }
    auto next = images.back().narrow(1, 0, next_width);
    // Again and again: what a projection leaves of the older directions is rounding, blown up by
    // how much the block has shrunk.
    constexpr int kMostRounds = 6;
    for (int round = 0; round < kMostRounds; ++round) {
      double overlap = 0;
      for (const auto& block : basis) {
        const auto part = inner(communicator, block, next);
        overlap = std::max(overlap, part.abs().max().item<double>());
        next = next - block.matmul(part);
      }
      if (round > 0 && overlap < kOrthogonal) {
        break;
      }
      next = orthonormal_columns(communicator, next);
    }
    size += next_width;
    basis.push_back(next);
  }

  const auto space = torch::cat(basis, 1);
  basis.clear();
  const auto image = torch::cat(images, 1);
  images.clear();
  auto small = inner(communicator, space, image);
  small = (small + small.t()) / 2;
  auto pairs = symmetric_eigen(small);
  // Ranks may not compute alike to the last digit, and equal eigenvalues then have other vectors.
  pairs.values = pairs.values.contiguous();
  communicator.broadcast(pairs.values, 0);
  communicator.broadcast(pairs.vectors, 0);
  const auto rotation = pairs.vectors.narrow(1, 0, options.components);

  LeadingComponents result;
  result.eigenvalues = pairs.values.narrow(0, 0, options.components).clamp_min(0);
  result.vectors = space.matmul(rotation);
  auto errors = (image.matmul(rotation) - result.vectors * result.eigenvalues).square().sum(0);
  communicator.all_reduce(errors);
  const double largest = std::max(result.eigenvalues[0].item<double>(), 1e-300);
  result.residuals = errors.sqrt() / largest;
  result.total_variance = covariance.variance();
  result.passes = covariance.passes();
  return result;
}

}  // namespace eigenscale
