#pragma once

#include <set>
#include <string>
#include <vector>

#include "support/mpi_test.h"

namespace eigenscale::test {

/// The first tag that closes what is not open, or stays open; empty when the markup is balanced.
inline std::string unbalanced_tag(const std::string& markup) {
  const std::set<std::string> without_end = {"meta", "img", "!doctype"};
  std::vector<std::string> open;
  for (std::size_t at = markup.find('<'); at != std::string::npos; at = markup.find('<', at + 1)) {
    const std::size_t end = markup.find('>', at);
    const std::string tag = markup.substr(at + 1, end - at - 1);
    const bool closing = tag.starts_with("/");
    const std::string name =
        tag.substr(closing ? 1 : 0, tag.find_first_of(" /", 1) - (closing ? 1 : 0));
    if (tag.ends_with("/") || without_end.contains(name)) {
      continue;
    }
    if (!closing) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return name;
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back();
}

}  // namespace eigenscale::test
