#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// [local] `count` different indices below `rows` in ascending order, each set as likely as any
/// other (Floyd's algorithm): a function of (seed, purpose, draw), so every rank knows them without
/// talking.
std::vector<std::int64_t> draw_rows(std::int64_t rows, std::int64_t count, std::uint64_t seed,
                                    std::string_view purpose, std::uint32_t draw = 0);

/// [local] The landmarks of one of the draws that compete: so many of the samples, as draw_rows.
std::vector<std::int64_t> draw_landmarks(std::int64_t samples, std::int64_t landmarks,
                                         std::uint64_t seed, std::int64_t draw = 0);

/// [collective] Rows to those who want them, in one exchange: rank r receives, as
/// wanted[r].size() x features of `type`, the rows with the ascending global indices wanted[r].
/// `rows` are this rank's of `partition`. InputError (agreed).
torch::Tensor exchange_rows(const Communicator& communicator, const RowPartition& partition,
                            const RowProvider& rows,
                            const std::vector<std::vector<std::int64_t>>& wanted,
                            torch::ScalarType type);

/// [local] This rank's positions (from its first row) of ascending global indices.
std::vector<std::int64_t> own_positions(const RowRange& own,
                                        const std::vector<std::int64_t>& indices);

}  // namespace eigenscale
