#include "eigenscale/cluster/landmarks.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/random.h"

namespace eigenscale {

std::vector<std::int64_t> draw_rows(std::int64_t rows, std::int64_t count, std::uint64_t seed,
                                    std::string_view purpose, std::uint32_t draw) {
  if (count == rows) {
    std::vector<std::int64_t> all(rows);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  const CounterRandom random(seed, purpose);
  std::unordered_set<std::int64_t> drawn;
  for (std::int64_t last = rows - count; last < rows; ++last) {
    const auto index = static_cast<std::int64_t>(random.integer(last + 1, last, draw));
    if (!drawn.insert(index).second) {
      drawn.insert(last);
    }
  }
  std::vector<std::int64_t> result(drawn.begin(), drawn.end());
  std::ranges::sort(result);
  return result;
}

std::vector<std::int64_t> draw_landmarks(std::int64_t samples, std::int64_t landmarks,
                                         std::uint64_t seed, std::int64_t draw) {
  return draw_rows(samples, landmarks, seed, "landmarks", static_cast<std::uint32_t>(draw));
}

std::vector<std::int64_t> own_positions(const RowRange& own,
                                        const std::vector<std::int64_t>& indices) {
  std::vector<std::int64_t> positions;
  const auto first = std::ranges::lower_bound(indices, own.begin);
  for (auto index = first; index != indices.end() && *index < own.end; ++index) {
    positions.push_back(*index - own.begin);
  }
  return positions;
}

torch::Tensor exchange_rows(const Communicator& communicator, const RowPartition& partition,
                            const RowProvider& rows,
                            const std::vector<std::vector<std::int64_t>>& wanted,
                            torch::ScalarType type) {
  Communicator::Counts sent;
  torch::Tensor input;
  on_all_ranks(communicator, [&] {
    std::vector<torch::Tensor> parts;
    for (const auto& indices : wanted) {
      const auto positions = own_positions(partition.range(communicator.rank()), indices);
      sent.push_back(std::ssize(positions));
      parts.push_back(rows.read_at(positions, type));
    }
    input = torch::cat(parts);
  });
  const auto& mine = wanted[communicator.rank()];
  Communicator::Counts received;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    received.push_back(std::ssize(own_positions(partition.range(rank), mine)));
  }
  auto output = torch::empty({std::ssize(mine), rows.features()}, type);
  communicator.all_to_all(output, input, received, sent);
  return output;
}

}  // namespace eigenscale
