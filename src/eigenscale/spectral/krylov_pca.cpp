#include "eigenscale/spectral/krylov_pca.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/random.h"
#include "eigenscale/linalg/symmetric_eigen.h"
#include "eigenscale/linalg/widened_sum.h"
#include "eigenscale/spectral/centring.h"

namespace eigenscale {
namespace {

// Overlap of orthonormal blocks that is rounding of their products.
constexpr double kOrthogonal = 1e-14;
constexpr double kFar = std::numeric_limits<double>::infinity();
constexpr double kNothing = std::numeric_limits<double>::min();

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
  CovarianceProduct(const Placement& placement, const RowStream& stream, const torch::Tensor& mean)
      : placement_(placement),
        stream_(stream),
        samples_(static_cast<double>(stream.rows())),
        features_(mean.numel()),
        counts_(RowPartition(features_, placement.control().size()).counts()),
        centring_(placement.to_device(mean, "mean")) {
    if (!placement.on_device()) {
      // Before anything that comes and goes: what stays must not lie between holes.
      centred_ = torch::empty({stream.piece_rows() * features_}, stream.type());
    }
  }

  /// [collective] Own rows of S B from own rows of B, double, D_p x l.
  torch::Tensor operator()(const torch::Tensor& own) {
    const std::int64_t columns = own.size(1);
    auto sum = torch::zeros({features_, columns}, placement_.options(torch::kFloat64));
    torch::Tensor block;  // whole, in the type of the rows
    auto squares = torch::zeros({}, placement_.options(torch::kFloat64));
    stream_.for_each_piece([&](const RowPiece& piece) {
      if (!block.defined()) {
        block = torch::empty({features_, columns}, piece.rows.options());
        placement_.data().all_gather(
            block,
            placement_.to_device(own.to(piece.rows.scalar_type()).contiguous(), "components"),
            counts_);
      }
      if (placement_.on_device()) {
        const auto centred = centring_(piece.rows);
        if (passes_ == 0) {
          squares.add_(centred.square().sum(torch::kFloat64));
        }
        sum.add_(centred.t().matmul(centred.matmul(block)));
      } else {
        add_products(piece.rows, block, sum, squares);
      }
    });
    block.reset();
    if (passes_ == 0) {
      variance_ = all_reduce(placement_.control(),
                             placement_.to_host(squares, "components").item<double>()) /
                  samples_;
    }
    ++passes_;
    auto result = torch::empty({counts_[placement_.control().rank()], columns}, sum.options());
    placement_.data().reduce_scatter(result, sum, ReduceOp::kSum, counts_);
    return placement_.to_host(result, "components").div_(samples_);
  }

  double variance() const { return variance_; }
  std::int64_t passes() const { return passes_; }

 private:
  /// sum += X^T X block, and squares those of X in the first pass, for X the centred rows, on the
  /// host. So many features at a time that these are still in the cache when they are multiplied,
  /// and their products when they are added: a pass is bound by the memory.
  void add_products(const torch::Tensor& rows, const torch::Tensor& block, const torch::Tensor& sum,
                    const torch::Tensor& squares) {
    constexpr std::int64_t kNumbers = 1 << 18;
    const std::int64_t width =
        std::clamp<std::int64_t>(kNumbers / std::max<std::int64_t>(rows.size(0), 1), 64, 4096);
    auto coordinates = torch::zeros({rows.size(0), block.size(1)}, block.options());
    std::vector<torch::Tensor> tiles;
    for (std::int64_t first = 0; first < features_; first += width) {
      const std::int64_t count = std::min(width, features_ - first);
      const auto tile = centred_.narrow(0, first * rows.size(0), rows.size(0) * count)
                            .view({rows.size(0), count});
      centring_.write(tile, rows, first);
      if (passes_ == 0) {
        squares.add_(tile.square().sum(torch::kFloat64));
      }
      coordinates.addmm_(tile, block.narrow(0, first, count));
      tiles.push_back(tile);
    }
    std::int64_t first = 0;
    for (const auto& tile : tiles) {
      add_widened(sum.narrow(0, first, tile.size(1)), tile.t().matmul(coordinates));
      first += tile.size(1);
    }
  }

  Placement placement_;
  const RowStream& stream_;
  double samples_;
  std::int64_t features_;
  Communicator::Counts counts_;
  Centring centring_;
  torch::Tensor centred_;  ///< of a piece on the host, tile behind tile
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

/// Ritz pairs of the covariance on a space.
struct RitzPairs {
  torch::Tensor values;     ///< k, descending, the same on all ranks
  torch::Tensor vectors;    ///< columns of the space x k
  torch::Tensor residuals;  ///< k norms of S v - l v
  torch::Tensor errors;     ///< k bounds of what the values lack, as bounds_of_errors has them
};

/// Of the `count` leading Ritz values: the residual or, where that is less, its square by the gap
/// to the rest of the spectrum (Kato 1949, Temple 1928; Parlett, The Symmetric Eigenvalue Problem,
/// theorem 11.7.1). What the neighbouring Ritz values lack themselves is taken off their distance.
torch::Tensor bounds_of_errors(const torch::Tensor& values, const torch::Tensor& residuals,
                               std::int64_t count) {
  auto gaps = torch::full({values.numel()}, kFar, torch::kFloat64);
  if (values.numel() > 1) {
    const std::int64_t pairs = values.numel() - 1;
    const auto distances = values.narrow(0, 0, pairs) - values.narrow(0, 1, pairs);
    auto below = gaps.narrow(0, 0, pairs);
    below.copy_(torch::minimum(below, distances - residuals.narrow(0, 1, pairs)));
    auto above = gaps.narrow(0, 1, pairs);
    above.copy_(torch::minimum(above, distances - residuals.narrow(0, 0, pairs)));
  }
  // Within a gap of less than the residual the theorem says nothing new.
  const auto bounds = residuals.square() / torch::maximum(gaps, residuals.clamp_min(kNothing));
  return bounds.narrow(0, 0, count);
}

/// An orthonormal basis Q, block by block, and the covariance on it, T = Q^T S Q. What S makes of a
/// block and the blocks before do not span is where the next one comes from, so that nothing but
/// the newest image is needed for a residual: S Q y - l Q y = W y_newest with W what remains of the
/// newest image.
class KrylovSpace {
 public:
  KrylovSpace(const Communicator& communicator, std::int64_t features, torch::Tensor first)
      : communicator_(communicator), features_(features), blocks_{std::move(first)} {
    size_ = newest().size(1);
    small_ = torch::zeros({size_, size_}, torch::kFloat64);
  }

  /// Columns.
  std::int64_t size() const { return size_; }
  const torch::Tensor& newest() const { return blocks_.back(); }

  /// [collective] Takes S times the newest block (own rows); the `count` leading pairs.
  RitzPairs add_image(torch::Tensor image, std::int64_t count) {
    remainder_ = std::move(image);
    const std::int64_t width = newest().size(1);
    auto column = torch::zeros({size_, width}, torch::kFloat64);
    for (int round = 0; round < 2; ++round) {
      project_out(remainder_, &column);
    }
    small_.narrow(1, size_ - width, width).copy_(column);
    small_.narrow(0, size_ - width, width).copy_(column.t());
    auto pairs = symmetric_eigen((small_ + small_.t()) / 2);
    // Ranks may not compute alike to the last digit, and equal eigenvalues then have other vectors.
    pairs.values = pairs.values.contiguous();
    communicator_.broadcast(pairs.values, 0);
    communicator_.broadcast(pairs.vectors, 0);
    const auto rotation = pairs.vectors.narrow(1, 0, count);
    const auto last = pairs.vectors.narrow(0, size_ - width, width);
    const auto squares = (last * inner(communicator_, remainder_, remainder_).matmul(last)).sum(0);
    const auto residuals = squares.clamp_min(0).sqrt();
    return {pairs.values.narrow(0, 0, count), rotation, residuals.narrow(0, 0, count),
            bounds_of_errors(pairs.values, residuals, count)};
  }

  /// [collective] A block more, at most up to all directions.
  void extend() {
    auto next = remainder_.narrow(1, 0, std::min(remainder_.size(1), features_ - size_));
    remainder_.reset();
    // Again and again: what a projection leaves of the older directions is rounding, blown up by
    // how much the block has shrunk. The remainder itself was projected twice.
    constexpr int kMostRounds = 6;
    double overlap = 1;
    for (int round = 0; round < kMostRounds && overlap >= kOrthogonal; ++round) {
      // The squares of a small overlap are what its columns then lack of being orthonormal.
      if (overlap * overlap * static_cast<double>(size_) > kOrthogonal) {
        next = orthonormal_columns(communicator_, next);
      }
      overlap = project_out(next, nullptr);
    }
    if (overlap * overlap * static_cast<double>(size_) > kOrthogonal) {
      next = orthonormal_columns(communicator_, next);
    }
    size_ += next.size(1);
    small_ = torch::constant_pad_nd(small_, {0, next.size(1), 0, next.size(1)});
    blocks_.push_back(next);
  }

  /// [local] Own rows of Q y.
  torch::Tensor combine(const torch::Tensor& y) const {
    auto result = torch::zeros({newest().size(0), y.size(1)}, torch::kFloat64);
    std::int64_t first = 0;
    for (const auto& block : blocks_) {
      result.addmm_(block, y.narrow(0, first, block.size(1)));
      first += block.size(1);
    }
    return result;
  }

 private:
  /// [collective] Takes what the blocks span away from `columns` and adds the coordinates to
  /// `coordinates`; the largest of them in magnitude.
  double project_out(torch::Tensor& columns, torch::Tensor* coordinates) const {
    double overlap = 0;
    std::int64_t first = 0;
    for (const auto& block : blocks_) {
      const auto part = inner(communicator_, block, columns);
      overlap = std::max(overlap, part.abs().max().item<double>());
      columns.addmm_(block, part, 1, -1);
      if (coordinates != nullptr) {
        coordinates->narrow(0, first, block.size(1)).add_(part);
      }
      first += block.size(1);
    }
    return overlap;
  }

  const Communicator& communicator_;
  std::int64_t features_;
  std::vector<torch::Tensor> blocks_;
  torch::Tensor small_;
  torch::Tensor remainder_;
  std::int64_t size_ = 0;
};

/// Q and R of many rows by those of blocks of rows that stay in the cache, where Householder's
/// reflections run several times as fast, and of the blocks' triangles (Demmel, Grigori, Hoemmen,
/// Langou, SIAM J. Sci. Comput. 2012).
std::pair<torch::Tensor, torch::Tensor> tall_qr(const torch::Tensor& rows) {
  constexpr std::int64_t kCachedNumbers = 1 << 16;
  const std::int64_t columns = rows.size(1);
  const std::int64_t few =
      std::max(4 * columns, kCachedNumbers / std::max<std::int64_t>(columns, 1));
  if (rows.size(0) <= 2 * few) {
    auto [q, r] = torch::linalg_qr(rows);
    return {q, r};
  }
  std::vector<torch::Tensor> factors;
  std::vector<torch::Tensor> triangles;
  for (const auto& block : rows.split(few)) {
    auto [q, r] = torch::linalg_qr(block);
    factors.push_back(q);
    triangles.push_back(r);
  }
  const auto [top, triangle] = tall_qr(torch::cat(triangles));
  auto result = torch::empty(rows.sizes(), rows.options());
  std::int64_t row = 0;
  std::int64_t above = 0;
  for (auto& factor : factors) {
    auto block = result.narrow(0, row, factor.size(0));
    torch::mm_out(block, factor, top.narrow(0, above, factor.size(1)));
    row += factor.size(0);
    above += factor.size(1);
    factor.reset();
  }
  return {result, triangle};
}

bool is_converged(const RitzPairs& now, const torch::Tensor& before, double tolerance) {
  // Variances that are nothing beside the largest are rounding.
  const auto scale = now.values.clamp_min(1e-9 * now.values[0].item<double>());
  const auto errors = torch::minimum(now.errors, 2 * (now.values - before).abs());
  return (errors <= tolerance * scale).all().item<bool>();
}

}  // namespace

torch::Tensor orthonormal_columns(const Communicator& communicator, const torch::Tensor& own_rows) {
  const std::int64_t columns = own_rows.size(1);
  const auto [local, triangle] = tall_qr(own_rows);
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

LeadingComponents leading_components(const Placement& placement, const RowStream& stream,
                                     const torch::Tensor& mean, const KrylovPcaOptions& options) {
  const Communicator& communicator = placement.control();
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
  const RowRange own = RowPartition(features, communicator.size()).range(communicator.rank());

  CovarianceProduct covariance(placement, stream, mean);
  KrylovSpace space(communicator, features,
                    orthonormal_columns(communicator, gaussian_rows(own, width, options.seed)));
  auto ritz = space.add_image(covariance(space.newest()), options.components);
  // With all D columns it is the whole space, and no larger one exists.
  while (covariance.passes() < options.blocks && space.size() < features) {
    space.extend();
    const auto before = ritz.values;
    ritz = space.add_image(covariance(space.newest()), options.components);
    if (is_converged(ritz, before, options.tolerance)) {
      break;
    }
  }

  LeadingComponents result;
  result.eigenvalues = ritz.values.clamp_min(0);
  result.vectors = space.combine(ritz.vectors);
  result.residuals = ritz.residuals / std::max(result.eigenvalues[0].item<double>(), 1e-300);
  result.total_variance = covariance.variance();
  result.passes = covariance.passes();
  return result;
}

}  // namespace eigenscale
