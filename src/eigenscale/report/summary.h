#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [collective] What was carried between hosts and devices so far (comm/device_transfer.h), over
/// all ranks: {"to_device": {SITE: {"calls": ..., "bytes": ...}, ...}, "to_host": ...}, on rank 0.
nlohmann::json transfer_summary(const Communicator& communicator);

/// [collective] The frame of summary.json: schema_version, program, version, ranks, device, and
/// peak_memory_bytes with the largest and the sum over ranks of the resident set, and the largest
/// just after start-up (`startup_bytes`, of this rank).
nlohmann::json make_summary(const Communicator& communicator, const std::string& program,
                            const std::string& device, std::int64_t startup_bytes);

/// [collective] The spans of all ranks as one Chrome trace (the ranks are its processes), as text.
/// Empty on all ranks but 0.
std::string gather_trace(const Communicator& communicator);

}  // namespace eigenscale
