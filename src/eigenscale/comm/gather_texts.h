#pragma once

#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [collective] The text of every rank, in rank order, on rank 0; nothing on the others.
std::vector<std::string> gather_texts(const Communicator& communicator, const std::string& own);

}  // namespace eigenscale
