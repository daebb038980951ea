#include "eigenscale/cluster/memory_estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "eigenscale/cluster/curve_learning.h"
#include "eigenscale/cluster/leading_directions.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/number_text.h"

namespace eigenscale {
namespace {

// Bytes for each of the N^2 / P entries at the fullest moment, in the spectral phase. On several
// ranks: the symmetric matrix, its scaled copy, vectors in two layouts, what travels between them,
// and the solver's own; up to 56 were measured. On one rank nothing travels; those are counted,
// not measured.
constexpr double kDistributedBytes = 64;
constexpr double kLocalFloatBytes = 40;
constexpr double kLocalDoubleBytes = 48;
// Beside them: libraries, encoder, message buffers.
constexpr double kCoefficientFixedBytes = 64.0 * 1024 * 1024;

// Of m x m entries, and of codes: with Adam's moments while they are trained, with coordinates of
// at most m doubles a row afterwards.
constexpr double kCodeFloatBytes = 12;
constexpr double kCodeDoubleBytes = 24;

// Of the sample of curves in doubles: it and what quantiles sort, on every rank; and what a step
// keeps of its part of it.
constexpr double kCurveCopies = 3;
constexpr double kCurveTensors = 48;

}  // namespace

MemoryNeed memory_for_codes(std::int64_t samples, std::int64_t landmarks,
                            torch::ScalarType precision) {
  const auto count = static_cast<double>(landmarks);
  const double codes = static_cast<double>(samples) * count *
                       (precision == torch::kFloat64 ? kCodeDoubleBytes : kCodeFloatBytes);
  return {"codes of " + count_text(samples) + " samples on " + count_text(landmarks) +
              " landmarks need",
          [codes, count](std::int64_t ranks) {
            return (codes + count * count * (ranks == 1 ? kLocalDoubleBytes : kDistributedBytes)) /
                       static_cast<double>(ranks) +
                   kCoefficientFixedBytes;
          },
          static_cast<std::int64_t>(std::max(static_cast<double>(samples), count) * count /
                                    std::numeric_limits<std::int32_t>::max()) +
              1};
}

MemoryNeed memory_for_coefficients(std::int64_t samples, bool closed_form,
                                   torch::ScalarType precision) {
  const double local =
      closed_form || precision == torch::kFloat64 ? kLocalDoubleBytes : kLocalFloatBytes;
  const double entries = static_cast<double>(samples) * static_cast<double>(samples);
  return {count_text(samples) + " samples with the coefficients of all on all need",
          [entries, local](std::int64_t ranks) {
            return entries / static_cast<double>(ranks) * (ranks == 1 ? local : kDistributedBytes) +
                   kCoefficientFixedBytes;
          },
          // BLAS and LAPACK count the entries of a rank in 32 bits.
          static_cast<std::int64_t>(entries / std::numeric_limits<std::int32_t>::max()) + 1};
}

MemoryNeed memory_for_landmarks(std::int64_t landmarks) {
  // Whatever the precision of trained coefficients, those of the cosines are double.
  auto need = memory_for_coefficients(landmarks, true, torch::kFloat64);
  need.subject = count_text(landmarks) + " landmarks with the coefficients of all on all need";
  if (landmarks <= kLandmarksOfARank) {
    need.bytes_of_rank = [alone = need.bytes_of_rank(1)](std::int64_t) { return alone; };
  }
  return need;
}

MemoryNeed memory_for_leading_directions(std::int64_t features) {
  auto need = memory_for_coefficients(features, true, torch::kFloat64);
  need.subject = "the leading directions of rows of " + count_text(features) + " numbers need";
  // The sample in single precision, and the directions, which all ranks have.
  const double numbers = static_cast<double>(features);
  const double sample = 4.0 * static_cast<double>(kDirectionSample) * numbers;
  const double directions = 8.0 * static_cast<double>(kReducedFeatures) * numbers;
  need.bytes_of_rank = [matrices = need.bytes_of_rank, sample, directions](std::int64_t ranks) {
    return matrices(ranks) + sample / static_cast<double>(ranks) + directions;
  };
  return need;
}

MemoryNeed memory_for_whitening(std::int64_t features) {
  auto need = memory_for_leading_directions(features);
  need.subject = "the whitening of " + count_text(features) + " features needs";
  // Directions, the same scaled, and their product.
  const double matrices = 3 * 8.0 * static_cast<double>(features) * static_cast<double>(features);
  need.bytes_of_rank = [matrices, directions = need.bytes_of_rank](std::int64_t ranks) {
    return directions(ranks) + matrices;
  };
  return need;
}

MemoryNeed memory_for_curves(std::int64_t features, std::int64_t clusters) {
  const double numbers =
      static_cast<double>(most_curve_rows(clusters)) * static_cast<double>(features);
  MemoryNeed need;
  need.subject = "learning the curves of " + count_text(features) + " features needs";
  need.bytes_of_rank = [numbers](std::int64_t ranks) {
    return 8 * numbers * (kCurveCopies + kCurveTensors / static_cast<double>(ranks));
  };
  return need;
}

void require_memory_for_coefficients(const Communicator& world, std::int64_t samples,
                                     bool closed_form, torch::ScalarType precision) {
  log_info("{}", require_memory(world, memory_for_coefficients(samples, closed_form, precision)));
}

}  // namespace eigenscale
