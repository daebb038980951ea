#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale::test {

/// The communicator of all ranks of the test run.
const Communicator& world();

/// The directory of the real test data, or an empty path where it is absent.
inline std::filesystem::path data_directory() {
  const char* value = std::getenv("EIGENSCALE_TEST_DATA");
  return value != nullptr && std::filesystem::is_directory(value) ? value : "";
}

/// [collective] A fresh empty directory that all ranks share, removed when the object goes.
class SharedDirectory {
 public:
  SharedDirectory();
  ~SharedDirectory();
  SharedDirectory(const SharedDirectory&) = delete;
  SharedDirectory& operator=(const SharedDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace eigenscale::test
