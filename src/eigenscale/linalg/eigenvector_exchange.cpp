#include "eigenscale/linalg/eigenvector_exchange.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "eigenscale/linalg/eigenvector_rows.h"

namespace eigenscale {
namespace {

/// The columns of a rank that go somewhere.
struct Columns {
  std::vector<std::int64_t> local;
  std::vector<std::int64_t> place;
  std::vector<double> sign;

  Columns(const BlockCyclicLayout& layout, int rank, const torch::Tensor& places,
          const torch::Tensor& signs) {
    const auto global = layout.global_columns(rank);
    const auto* column = global.data_ptr<std::int64_t>();
    for (std::int64_t j = 0; j < global.numel(); ++j) {
      const auto to = places.data_ptr<std::int64_t>()[column[j]];
      if (to >= 0) {
        local.push_back(j);
        place.push_back(to);
        sign.push_back(signs.data_ptr<double>()[column[j]]);
      }
    }
  }
  std::int64_t count() const { return std::ssize(local); }
};

/// The rows of a rank that belong to a range: the first of them and, counted from the begin of the
/// range, all.
struct Rows {
  std::int64_t first = 0;
  std::vector<std::int64_t> place;

  Rows(const BlockCyclicLayout& layout, int rank, RowRange range) {
    const auto global = layout.global_rows(rank);
    const auto* begin = global.data_ptr<std::int64_t>();
    const auto* end = begin + global.numel();
    const auto* from = std::lower_bound(begin, end, range.begin);
    first = from - begin;
    for (; from != end && *from < range.end; ++from) {
      place.push_back(*from - range.begin);
    }
  }
  std::int64_t count() const { return std::ssize(place); }
};

/// Columns that begin at column[j] to their places in the rows at theirs.
void place_entries(const torch::Tensor& target, const Rows& rows, const Columns& columns,
                   const std::vector<const double*>& column) {
  // Both sides of a tile stay in the first cache.
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kColumns = 16;
  auto* to = target.data_ptr<double>();
  const std::int64_t stride = target.stride(0);
  for (std::int64_t top = 0; top < rows.count(); top += kRows) {
    const std::int64_t bottom = std::min(top + kRows, rows.count());
    for (std::int64_t left = 0; left < columns.count(); left += kColumns) {
      const std::int64_t right = std::min(left + kColumns, columns.count());
      for (std::int64_t i = top; i < bottom; ++i) {
        auto* line = to + rows.place[i] * stride;
        for (std::int64_t j = left; j < right; ++j) {
          line[columns.place[j]] = columns.sign[j] * column[j][i];
        }
      }
    }
  }
}

/// Where `count` columns begin that lie `stride` apart.
std::vector<const double*> starts(const double* first, std::int64_t stride, std::int64_t count) {
  std::vector<const double*> result(count);
  for (std::int64_t j = 0; j < count; ++j) {
    result[j] = first + j * stride;
  }
  return result;
}

}  // namespace

torch::Tensor own_column_extremes(const DistributedMatrix& vectors) {
  const auto& local = vectors.local();
  auto result = torch::zeros({2, vectors.layout().columns}, torch::kFloat64);
  return result.index_copy_(1, vectors.layout().global_columns(),
                            column_extremes(local, torch::arange(local.size(1))));
}

void deal_rows(const DistributedMatrix& vectors, const RowPartition& partition,
               const torch::Tensor& places, const torch::Tensor& signs, const torch::Tensor& rows) {
  const auto& layout = vectors.layout();
  const Communicator& all = layout.grid->all();
  const int me = all.rank();
  const std::int64_t stride = vectors.leading_dimension();
  const auto* local = vectors.local().data_ptr<double>();
  const Columns own(layout, me, places, signs);
  const Rows kept(layout, me, partition.range(me));

  // To each rank its rows of all columns, column by column.
  Communicator::Counts sent(all.size(), 0);
  auto outgoing =
      torch::empty({(vectors.local().size(0) - kept.count()) * own.count()}, torch::kFloat64);
  auto* packed = outgoing.data_ptr<double>();
  for (int rank = 0; rank < all.size(); ++rank) {
    if (rank == me) {
      continue;
    }
    const Rows theirs(layout, me, partition.range(rank));
    for (const auto column : own.local) {
      packed = std::copy_n(local + theirs.first + column * stride, theirs.count(), packed);
    }
    sent[rank] = theirs.count() * own.count();
  }
  Communicator::Counts received(all.size(), 0);
  for (int rank = 0; rank < all.size(); ++rank) {
    if (rank != me) {
      received[rank] = Rows(layout, rank, partition.range(me)).count() *
                       Columns(layout, rank, places, signs).count();
    }
  }
  const auto incoming = torch::empty(
      {std::accumulate(received.begin(), received.end(), std::int64_t{0})}, torch::kFloat64);
  all.all_to_all(incoming, outgoing, received, sent);
  outgoing = torch::Tensor();

  // Afterwards, so that nobody waits for what others place.
  std::vector<const double*> columns;
  for (const auto column : own.local) {
    columns.push_back(local + kept.first + column * stride);
  }
  place_entries(rows, kept, own, columns);
  const auto* arrived = incoming.data_ptr<double>();
  for (int rank = 0; rank < all.size(); ++rank) {
    if (received[rank] > 0) {
      const Rows arriving(layout, rank, partition.range(me));
      const Columns theirs(layout, rank, places, signs);
      place_entries(rows, arriving, theirs, starts(arrived, arriving.count(), theirs.count()));
      arrived += received[rank];
    }
  }
}

}  // namespace eigenscale
