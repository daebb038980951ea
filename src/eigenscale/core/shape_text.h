#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eigenscale {

/// A shape as options spell it, such as 1x28x28.
inline std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) {
    if (!text.empty()) {
      text += 'x';
    }
    text += std::to_string(size);
  }
  return text;
}

}  // namespace eigenscale
