#pragma once

#include <string>

namespace eigenscale {

/// The release, such as "0.1.0".
std::string version();
/// Compiler and build type this library was made with.
std::string build_description();

}  // namespace eigenscale
