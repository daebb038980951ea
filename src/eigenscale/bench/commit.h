#pragma once

#include <string>

namespace eigenscale {

/// The commit of the sources this was built from, with "+" where they had been changed since;
/// "unknown" where they are not a git checkout. Only for programs that measure: what includes it is
/// linked again with every commit.
std::string commit();

}  // namespace eigenscale
