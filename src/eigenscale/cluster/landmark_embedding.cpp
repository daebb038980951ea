#include "eigenscale/cluster/landmark_embedding.h"

#include <algorithm>
#include <utility>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/cluster/discretization.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/threshold.h"
#include "eigenscale/comm/finite.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/linalg/symmetric_eigen.h"
#include "eigenscale/spectral/streamed_covariance.h"

namespace eigenscale {
namespace {

// Rows of B that exist at a time: enough for the speed of matrix products.
constexpr std::int64_t kRowsAtOnce = 1024;
// Eigenvalues behind the K-th that are computed for the picture of the gap.
constexpr std::int64_t kBehindGap = 10;

/// A rank's landmarks among its samples (positions) and among all landmarks (numbers).
struct OwnLandmarks {
  torch::Tensor positions;
  std::int64_t first = 0;

  OwnLandmarks(const RowRange& own, const std::vector<std::int64_t>& landmarks)
      : positions(torch::tensor(own_positions(own, landmarks), torch::kInt64)),
        first(std::ranges::lower_bound(landmarks, own.begin) - landmarks.begin()) {}

  std::int64_t count() const { return positions.numel(); }
  RowRange range() const { return {first, first + count()}; }

  /// Zero where a landmark meets itself, in the rows `range` of n_p x m values.
  void clear_self(const torch::Tensor& values, const RowRange& range) const {
    const auto inside = (positions >= range.begin).logical_and(positions < range.end);
    const auto numbers = torch::arange(first, first + count()).masked_select(inside);
    values.index_put_({positions.masked_select(inside) - range.begin, numbers},
                      torch::scalar_tensor(0, values.options()));
  }
};

std::int64_t overlap(const RowRange& a, const RowRange& b) {
  return std::max<std::int64_t>(0, std::min(a.end, b.end) - std::max(a.begin, b.begin));
}

/// Rows that lie on the ranks by `owners`' samples, in even blocks of `blocks`.
torch::Tensor to_even_blocks(const Communicator& communicator, const torch::Tensor& own,
                             const std::vector<RowRange>& owners, const RowPartition& blocks) {
  Communicator::Counts sent;
  Communicator::Counts received;
  const auto mine = blocks.range(communicator.rank());
  for (int rank = 0; rank < communicator.size(); ++rank) {
    sent.push_back(overlap(owners[communicator.rank()], blocks.range(rank)));
    received.push_back(overlap(owners[rank], mine));
  }
  auto result = torch::empty({mine.size(), own.size(1)}, own.options());
  communicator.all_to_all(result, own, received, sent);
  return result;
}

torch::Tensor gather(const Communicator& communicator, const torch::Tensor& own,
                     const RowPartition& partition) {
  auto all = torch::empty({partition.rows(), own.size(1)}, own.options());
  communicator.all_gather(all, own.contiguous(), partition.counts());
  return all;
}

/// 1 / values where they are of notable size beside the largest, 0 elsewhere.
torch::Tensor guarded_reciprocal(const torch::Tensor& values, double largest) {
  const auto notable = values.abs() > 1e-12 * largest;
  return torch::where(notable, values.reciprocal(), torch::zeros_like(values));
}

torch::Tensor inverse_root(const torch::Tensor& sums) {
  return torch::where(sums > 0, sums.clamp_min(1e-300).rsqrt(), torch::zeros_like(sums));
}

/// Codes cut at the threshold; where every sample is a landmark as coefficients of all on all.
torch::Tensor cut_codes(const torch::Tensor& codes, const OwnLandmarks& own,
                        const RowPartition& partition,
                        const std::shared_ptr<const ProcessGrid>& grid, double threshold) {
  const std::int64_t count = codes.size(1);
  if (count == partition.rows()) {
    const auto columns = from_row_blocks(
        codes, partition,
        {count, count, count, std::max<std::int64_t>(1, partition.block()), grid->as_row()});
    return to_row_blocks(threshold_columns(columns, threshold, false), partition);
  }
  own.clear_self(codes, {0, codes.size(0)});
  const double share =
      threshold * static_cast<double>(partition.rows()) / static_cast<double>(count);
  if (share < 1) {
    threshold_rows(codes, share);
  }
  return codes;
}

}  // namespace

LandmarkCoordinates landmark_coordinates(const torch::Tensor& codes,
                                         const std::vector<std::int64_t>& landmarks,
                                         const RowPartition& partition,
                                         std::shared_ptr<const ProcessGrid> grid,
                                         const ClusteringSettings& settings,
                                         std::int64_t clusters) {
  const TraceSpan span("landmark coordinates");
  const auto& world = grid->all();
  require_finite(world, codes, "the matrix of coefficients",
                 "the data over- or underflow the arithmetic; scale them by --scale, or use "
                 "--precision double");
  const std::int64_t count = std::ssize(landmarks);
  const OwnLandmarks own(partition.range(world.rank()), landmarks);
  const auto cut = cut_codes(codes, own, partition, grid, settings.threshold);

  std::vector<RowRange> owners;
  for (int rank = 0; rank < world.size(); ++rank) {
    owners.push_back(OwnLandmarks(partition.range(rank), landmarks).range());
  }
  const RowPartition blocks(count, world.size());
  const auto layout = spectral_layout(count, grid);
  auto symmetric = symmetric_part(
      from_row_blocks(to_even_blocks(world, cut.index_select(0, own.positions), owners, blocks),
                      blocks, layout),
      grid);
  if (settings.unit_diagonal) {
    set_diagonal(symmetric, 1);
  }
  const std::int64_t leading = std::clamp<std::int64_t>(settings.subspace_dim * clusters + 1, 1,
                                                        std::max<std::int64_t>(1, count - 1));
  // Without what landmarks have on themselves the trace is zero: the negative eigenvalues say that
  // and nothing else. Coefficients of all on all keep their diagonal, and the paper's rule.
  const auto eigen =
      symmetric_eigen(symmetric, count == partition.rows() ? EigenRange::largest_magnitude(leading)
                                                           : EigenRange::largest(leading));
  symmetric = {};

  const auto vectors = gather(world, eigen.vectors, blocks);
  const auto root = eigen.values.abs().sqrt();
  LandmarkCoordinates result;
  result.solver = eigen.solver;
  result.landmarks = normalize_rows(vectors * root);
  // A unit diagonal is no part of the codes that extend the vectors.
  const auto shifted = eigen.values - (settings.unit_diagonal ? 1.0 : 0.0);
  const auto extension =
      vectors * (root * guarded_reciprocal(shifted, eigen.values.abs().max().item<double>()));
  result.rows = torch::empty({cut.size(0), leading}, torch::kFloat64);
  for (std::int64_t first = 0; first < cut.size(0); first += kRowsAtOnce) {
    const std::int64_t size = std::min(kRowsAtOnce, cut.size(0) - first);
    result.rows.narrow(0, first, size)
        .copy_(normalize_rows(cut.narrow(0, first, size).to(torch::kFloat64).mm(extension)));
  }
  result.rows.index_copy_(0, own.positions, result.landmarks.narrow(0, own.first, own.count()));
  return result;
}

LandmarkAffinity cosine_affinity(const LandmarkCoordinates& coordinates, double power) {
  return [rows = coordinates.rows, landmarks = coordinates.landmarks, power](RowRange range) {
    auto affinity = rows.narrow(0, range.begin, range.size()).mm(landmarks.t()).clamp_min_(0);
    return power == 1 ? affinity : affinity.pow_(power);
  };
}

SpectralEmbedding landmark_embedding(const LandmarkAffinity& affinity,
                                     const std::vector<std::int64_t>& landmarks,
                                     const RowPartition& partition,
                                     std::shared_ptr<const ProcessGrid> grid,
                                     std::int64_t clusters) {
  const TraceSpan span("landmark embedding");
  const auto& world = grid->all();
  const std::int64_t count = std::ssize(landmarks);
  const std::int64_t own_rows = partition.range(world.rank()).size();
  const OwnLandmarks own(partition.range(world.rank()), landmarks);
  // As many pieces on every rank: what is done with one may be collective.
  const auto for_each_piece = [&](const std::function<void(RowRange, torch::Tensor)>& work) {
    for (std::int64_t first = 0; first < partition.block(); first += kRowsAtOnce) {
      const RowRange range{std::min(first, own_rows), std::min(first + kRowsAtOnce, own_rows)};
      auto piece = affinity(range);
      own.clear_self(piece, range);
      work(range, std::move(piece));
    }
  };
  if (count == partition.rows()) {
    auto rows = torch::empty({own_rows, count}, torch::kFloat64);
    for_each_piece([&](RowRange range, const torch::Tensor& piece) {
      rows.narrow(0, range.begin, range.size()).copy_(piece);
    });
    return spectral_embedding(from_row_blocks(rows, partition, spectral_layout(count, grid)),
                              partition, clusters);
  }

  auto row_sums = torch::zeros({own_rows}, torch::kFloat64);
  auto column_sums = torch::zeros({count}, torch::kFloat64);
  for_each_piece([&](RowRange range, const torch::Tensor& piece) {
    row_sums.narrow(0, range.begin, range.size()).copy_(piece.sum(1));
    column_sums += piece.sum(0);
  });
  world.all_reduce(column_sums);
  const auto row_scale = inverse_root(row_sums).unsqueeze(1);
  const auto column_scale = inverse_root(column_sums);
  const auto scaled = [&](RowRange range, const torch::Tensor& piece) {
    return piece * row_scale.narrow(0, range.begin, range.size()) * column_scale;
  };

  GramAccumulator gram(grid, count);
  for_each_piece(
      [&](RowRange range, const torch::Tensor& piece) { gram.add(scaled(range, piece)); });
  const std::int64_t wanted = std::min(count, clusters + kBehindGap);
  const auto eigen = symmetric_eigen(gram.take_sum(), EigenRange::largest(wanted));
  const auto vectors = gather(world, eigen.vectors, RowPartition(count, world.size()));
  auto rows = torch::zeros({own_rows, wanted}, torch::kFloat64);
  for_each_piece([&](RowRange range, const torch::Tensor& piece) {
    rows.narrow(0, range.begin, range.size()).copy_(scaled(range, piece).mm(vectors));
  });

  SpectralEmbedding result;
  result.eigenvalues = eigen.values.clamp_min(0).sqrt();
  const auto leading = result.eigenvalues.narrow(0, 0, std::min(wanted, clusters));
  result.rows = rows.narrow(1, 0, leading.numel()) *
                guarded_reciprocal(leading, leading.max().item<double>());
  result.isolated = all_reduce(world, (row_sums <= 0).sum().item<std::int64_t>());
  result.components = (result.eigenvalues > 1 - 1e-9).sum().item<std::int64_t>();
  result.solver = eigen.solver;
  return result;
}

}  // namespace eigenscale
