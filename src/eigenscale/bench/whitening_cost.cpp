#include "eigenscale/bench/whitening_cost.h"

#include <algorithm>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_stream.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/spectral/streamed_covariance.h"
#include "eigenscale/spectral/whitening_fit.h"
#include "eigenscale/spectral/whitening_rows.h"

namespace eigenscale {
namespace {

constexpr double kDouble = 8;
// dsyevd on two threads against one: 1.5 and 1.6 at n = 1,000 (docs/cost-model.md).
constexpr double kGainOfTwo = 1.5;
constexpr double kAgreement = 8;  // bytes of a sum of one number

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

double real(std::int64_t value) { return static_cast<double>(value); }

/// What of a problem's sizes falls on rank 0, which has most, on its grid: few rows of processes,
/// blocks of at most 32 (linalg/block_cyclic_layout.h).
struct Shares {
  explicit Shares(const WhiteningProblem& problem)
      : ranks(problem.ranks), samples(ceil_divide(problem.samples, problem.ranks)) {
    const auto [more, fewer] = ProcessGrid::squarest(static_cast<int>(ranks));
    columns = more;
    rows = fewer;
    pieces = ceil_divide(samples, problem.piece_rows);
  }

  std::int64_t block(std::int64_t size) const {
    return std::clamp<std::int64_t>(ceil_divide(size, std::max(rows, columns)), 1, 32);
  }
  static std::int64_t local(std::int64_t size, std::int64_t block, std::int64_t processes) {
    const std::int64_t blocks = size / block;
    const std::int64_t rest = blocks % processes;
    return blocks / processes * block + (rest > 0 ? block : size % block);
  }
  double in_row(std::int64_t size) const { return real(local(size, block(size), rows)); }
  double in_column(std::int64_t size) const { return real(local(size, block(size), columns)); }
  /// Messages of add_gram for so many own columns.
  double travelling(std::int64_t width, std::int64_t value_bytes) const {
    const double along = (columns > 1 ? 1 : 0) + (rows > 1 ? 1 : 0);
    const auto most = value_bytes == 8 ? kTravellingDoubles : kSingleProducts;
    return along * real(ceil_divide(width, std::max<std::int64_t>(1, most / columns)));
  }
  /// Entries of a symmetric matrix from the diagonal down in the columns of the second of two
  /// ranks.
  double triangle_of_second(std::int64_t size) const {
    double entries = 0;
    for (std::int64_t column = 0; column < size; ++column) {
      if (column / block(size) % columns == 1) {
        entries += real(size - column);
      }
    }
    return entries;
  }
  double others(double of) const { return of * real(ranks - 1) / real(ranks); }

  std::int64_t ranks;
  std::int64_t samples;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t pieces;
};

void add(PhaseCost& cost, double messages, double bytes, double wire) {
  cost.messages += messages;
  cost.bytes += bytes;
  cost.wire += wire;
}

/// Sums or maxima over all ranks.
void add_sum(PhaseCost& cost, const Shares& shares, double bytes, double messages = 1) {
  add(cost, messages, bytes * messages, all_reduce_wire(bytes * messages, shares.ranks));
}

/// What every rank gets of every other, or gives it, `bytes` in all.
void add_exchange(PhaseCost& cost, const Shares& shares, double bytes, double messages = 1) {
  add(cost, messages, bytes, shares.others(bytes));
}

/// A broadcast, or a matrix that goes to one rank or comes from it.
void add_to_one(PhaseCost& cost, const Shares& shares, double bytes) {
  add(cost, 1, bytes, shares.ranks > 1 ? bytes : 0);
}

double kept(const WhiteningProblem& problem) {
  return real(problem.components > 0 ? problem.components : problem.features);
}

double piece_bytes(const WhiteningProblem& problem) {
  return real(std::min(problem.piece_rows, Shares(problem).samples) * problem.features *
              problem.value_bytes);
}

/// X X^T of own columns of a D x M matrix, M in all, and the other triangle of the sum.
void add_gram(PhaseCost& cost, const WhiteningProblem& problem, double columns, double bytes) {
  const Shares shares(problem);
  const auto add_gather = [&](double own, std::int64_t processes) {
    if (processes > 1) {
      add(cost, 0, own, own * real(processes - 1) / real(processes));
    }
  };
  add_gather(shares.in_row(problem.features) * columns * bytes, shares.columns);
  add_gather(shares.in_column(problem.features) * columns * bytes, shares.rows);
}

/// Sums of the rows of `range` of a symmetric matrix, up to the diagonal, for one rank (sum_lower).
/// Returns their bytes.
double add_lower_sums(PhaseCost& cost, RowRange range) {
  double bytes = 0;
  for (std::int64_t first = range.begin; first < range.end; first += kSummedRows) {
    const std::int64_t count = std::min(kSummedRows, range.end - first);
    bytes += kDouble * real(count) * real(first + count);
    ++cost.messages;
  }
  cost.bytes += bytes;
  return bytes;
}

void add_mirror(PhaseCost& cost, const WhiteningProblem& problem) {
  const Shares shares(problem);
  add_exchange(cost, shares,
               kDouble * shares.in_row(problem.features) * shares.in_column(problem.features));
}

}  // namespace

std::int64_t whitening_piece_rows(std::int64_t features, std::int64_t value_bytes,
                                  bool without_covariance) {
  const auto bytes = without_covariance ? kComponentsPieceBytes : kWhiteningPieceBytes;
  return std::max<std::int64_t>(1, bytes / (features * value_bytes));
}

PhaseCost whitening_mean_cost(const WhiteningProblem& problem) {
  const Shares shares(problem);
  const double d = real(problem.features);
  PhaseCost cost;
  cost.flop = 3 * real(shares.samples) * d;
  cost.read = real(shares.samples) * d * real(problem.value_bytes);
  const std::int64_t row_bytes = problem.features * problem.value_bytes;
  const std::int64_t rows = std::clamp<std::int64_t>(
      moments_piece_bytes(problem.features, problem.value_bytes) / row_bytes, 1, shares.samples);
  const std::int64_t together = std::max<std::int64_t>(1, kAgreedBytes / (rows * row_bytes));
  cost.memory = 2 * real(rows * row_bytes) + 4 * kDouble * d;
  add_sum(cost, shares, kAgreement, real(ceil_divide(ceil_divide(shares.samples, rows), together)));
  add_sum(cost, shares, kDouble * d, 3);  // sums, largest and smallest
  return cost;
}

PhaseCost whitening_covariance_cost(const WhiteningProblem& problem) {
  const Shares shares(problem);
  const double rows = real(shares.samples);
  const double d = real(problem.features);
  const double value = real(problem.value_bytes);
  PhaseCost cost;
  cost.flop = rows * d * d;
  cost.read = rows * d * value;
  cost.memory = 2 * kDouble * d * d / real(shares.ranks) + 4 * piece_bytes(problem);
  add_sum(cost, shares, kAgreement, real(shares.pieces));  // read
  add_sum(cost, shares, kAgreement);                       // the trace
  const bool whole = sums_whole(problem.samples, problem.features, problem.ranks);
  if (whole && problem.one_rank) {
    add_sum(cost, shares, 2 * kAgreement);  // who solves
    if (asks_for_memory(problem.features)) {
      add_sum(cost, shares, kAgreement);
    }
    cost.memory = 2 * kDouble * d * d + 4 * piece_bytes(problem);  // and its Cholesky factor
    cost.wire += add_lower_sums(cost, {0, problem.features});
  } else if (whole && shares.ranks > 1) {
    const RowPartition partition(problem.features, static_cast<int>(shares.ranks));
    const double own = kDouble * d * real(ceil_divide(problem.features, shares.ranks));
    cost.memory = kDouble * d * d + 2 * own + 4 * piece_bytes(problem);
    for (int rank = 0; rank < static_cast<int>(shares.ranks); ++rank) {
      cost.wire += shares.others(add_lower_sums(cost, partition.range(rank)));
    }
    add_exchange(cost, shares, own);  // to the grid
    add_mirror(cost, problem);
  } else if (shares.ranks > 1) {
    add_sum(cost, shares, kAgreement, real(shares.pieces));  // the longest piece
    const std::int64_t last = shares.samples - (shares.pieces - 1) * problem.piece_rows;
    const auto travelling = [&](std::int64_t piece) {
      return shares.travelling(piece * shares.rows, problem.value_bytes);
    };
    cost.messages += real(shares.pieces - 1) * travelling(problem.piece_rows) + travelling(last);
    add_gram(cost, problem, rows * real(shares.ranks), value);
    add_mirror(cost, problem);
  }
  if (!whole && shares.rows > 1) {
    add_exchange(cost, shares, rows * d * value, real(shares.pieces));  // rows to the grid
  }
  if (problem.value_bytes == 4) {  // the probe of its precision, in four directions
    cost.flop += 16 * rows * d;
    add_sum(cost, shares, 4 * kDouble * d);
  }
  return cost;
}

PhaseCost whitening_eigenproblem_cost(const WhiteningProblem& problem) {
  const Shares shares(problem);
  const double d = real(problem.features);
  const double k = kept(problem);
  const auto leading = static_cast<std::int64_t>(k);
  const double own_rows = real(ceil_divide(problem.features, shares.ranks));
  PhaseCost cost;
  // One rank that solves does all of it with the cores of both; the product for zca is shared.
  const double solving = (4.0 / 3 * d + 2 * k) * d * d;
  const double product = problem.zca ? k * d * d : 0;
  cost.flop =
      solving / (problem.one_rank ? kGainOfTwo : real(shares.ranks)) + product / real(shares.ranks);
  cost.memory = kDouble * d * d * (problem.one_rank ? 4 : 10 / real(shares.ranks));
  if (shares.ranks > 1) {
    add_sum(cost, shares, kAgreement);  // the largest entry, finite only if all are
  }
  if (shares.ranks > 1 && problem.one_rank) {
    add_sum(cost, shares, 2 * kAgreement, 2);  // threads, twice
    if (asks_for_memory(problem.features)) {
      add_sum(cost, shares, kAgreement);
    }
    // The second hands over its part of the matrix, if the sum is not there already; the first
    // vectors.
    const double there = sums_whole(problem.samples, problem.features, problem.ranks)
                             ? 0
                             : kDouble * shares.triangle_of_second(problem.features);
    const double back = kDouble * (d - own_rows) * k;
    add(cost, 2, std::max(there, back), there + back);
    add(cost, 1, 0, 0);                 // a barrier
    add_sum(cost, shares, kAgreement);  // success
    const std::int64_t found = lapack_pairs(problem.features, EigenRange::largest(leading));
    add_sum(cost, shares, 3 * kDouble * real(found));
  } else if (shares.ranks > 1) {
    add_sum(cost, shares, kAgreement, 3);
    const std::int64_t found = elpa_pairs(problem.features, EigenRange::largest(leading));
    // The wanted vectors are the last of those found; the own rows of them stay.
    const auto block = shares.block(problem.features);
    const auto columns = Shares::local(found, block, shares.columns) -
                         Shares::local(found - leading, block, shares.columns);
    const auto others = Shares::local(problem.features, block, shares.rows) -
                        Shares::local(static_cast<std::int64_t>(own_rows), block, shares.rows);
    const double dealt = kDouble * real(others) * real(columns);
    add(cost, 1, dealt, dealt);
    add_sum(cost, shares, 3 * kDouble * real(found));  // eigenvalues and signs
  }
  add_exchange(cost, shares, kDouble * own_rows * k);  // vectors to the grid
  if (problem.zca && shares.ranks > 1) {
    cost.messages +=
        shares.travelling(Shares::local(leading, shares.block(leading), shares.columns), 8);
    add_gram(cost, problem, k, kDouble);
    add_mirror(cost, problem);
  }
  if (sums_whole(problem.samples, problem.features, problem.ranks)) {
    // The transform to rows, and these to every rank.
    const std::int64_t width = problem.zca ? problem.features : leading;
    add_exchange(cost, shares,
                 kDouble * std::max(own_rows * real(width),
                                    shares.in_row(problem.features) * shares.in_column(width)));
    add_exchange(cost, shares, d * real(width) * real(problem.value_bytes));
  }
  return cost;
}

PhaseCost whitening_application_cost(const WhiteningProblem& problem) {
  const Shares shares(problem);
  const double rows = real(shares.samples);
  const double d = real(problem.features);
  const std::int64_t width =
      problem.zca ? problem.features : static_cast<std::int64_t>(kept(problem));
  const double value = real(problem.value_bytes);
  PhaseCost cost;
  cost.flop = 2 * rows * d * real(width);
  cost.read = rows * d * value;
  cost.memory = 2 * kDouble * d * real(width) / real(shares.ranks) + 5 * piece_bytes(problem);
  if (sums_whole(problem.samples, problem.features, problem.ranks)) {
    cost.memory =
        d * real(width) * (value + kDouble / real(shares.ranks)) + 5 * piece_bytes(problem);
    add_sum(cost, shares, kAgreement, real(shares.pieces));
    return cost;
  }
  add_sum(cost, shares, kAgreement, 2 * real(shares.pieces));
  if (shares.rows > 1) {  // to the grid and back
    add_exchange(cost, shares, rows * d * value, real(shares.pieces));
    add_exchange(cost, shares, shares.in_row(width) * rows * real(shares.rows) * value,
                 real(shares.pieces));
  }
  // ScaLAPACK: the transform along process rows for each piece, samples along process columns.
  cost.wire += real(shares.pieces) * d * real(width) * value / real(shares.rows) *
                   real(shares.columns - 1) / real(shares.columns) +
               rows * d * value * real(shares.rows - 1);
  return cost;
}

PhaseCost krylov_components_cost(const KrylovProblem& problem) {
  const auto& whitening = problem.whitening;
  const Shares shares(whitening);
  const double rows = real(shares.samples);
  const double d = real(whitening.features);
  const double own = real(ceil_divide(whitening.features, shares.ranks));
  const double k = kept(whitening);
  const double l = real(problem.width);
  const double value = real(whitening.value_bytes);
  const double passes = real(problem.passes);
  const double rounds = real(problem.rounds);
  PhaseCost cost;
  cost.read = passes * rows * d * value;
  cost.memory =
      randomized_bytes(whitening.components, problem.passes, whitening.features, shares.ranks) +
      3 * piece_bytes(whitening);
  const auto orthonormalise = [&] {
    const double stacked = real(shares.ranks) * std::min(own, l) * l * kDouble;
    cost.flop += 4 * own * l * l;
    add_sum(cost, shares, kDouble * real(shares.ranks));
    add_exchange(cost, shares, stacked);
    add_to_one(cost, shares, stacked);
  };
  // What `blocks` blocks span is taken away.
  const auto project = [&](double blocks) {
    cost.flop += 4 * own * blocks * l * l;
    add_sum(cost, shares, kDouble * l * l, blocks);
  };
  orthonormalise();
  add_sum(cost, shares, kAgreement);  // the variance in all
  for (double blocks = 1; blocks <= passes; ++blocks) {
    cost.flop += 4 * rows * d * l + 9 * blocks * l * blocks * l * blocks * l;
    add_sum(cost, shares, kAgreement, real(shares.pieces));
    add_exchange(cost, shares, d * l * value);    // the block
    add_exchange(cost, shares, d * l * kDouble);  // the sums of its products
    project(blocks);
    project(blocks);
    add_to_one(cost, shares, kDouble * blocks * l);
    add_to_one(cost, shares, kDouble * blocks * l * blocks * l);
    add_sum(cost, shares, kDouble * l * l);  // residuals
    if (blocks < passes) {
      // Once is enough for any block that has not shrunk to nothing.
      orthonormalise();
      for (double round = 1; round <= rounds; ++round) {
        project(blocks);
      }
    }
  }
  add_sum(cost, shares, kDouble * k * k);  // orthogonality
  add_exchange(cost, shares, kDouble * own * k);
  if (!whitening.zca) {
    add_exchange(cost, shares, kDouble * own * k);
  }
  add_exchange(cost, shares, d * k * value);  // to every rank, for the application
  return cost;
}

PhaseCost krylov_application_cost(const WhiteningProblem& problem) {
  const Shares shares(problem);
  const double rows = real(shares.samples);
  const double d = real(problem.features);
  PhaseCost cost;
  cost.flop = (problem.zca ? 4 : 2) * rows * d * kept(problem);
  cost.read = rows * d * real(problem.value_bytes);
  cost.memory = d * kept(problem) * real(problem.value_bytes) + 4 * piece_bytes(problem);
  add_sum(cost, shares, kAgreement, real(shares.pieces));
  return cost;
}

}  // namespace eigenscale
