#include "eigenscale/comm/huge_pages.h"

#include <torch/torch.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

/// Whether the mapping that an address lies in was asked to have huge pages: "hg" in the VmFlags of
/// /proc/self/smaps (proc(5)).
bool asked_for_huge_pages(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::istringstream range(line);
    if (range >> std::hex >> begin >> dash >> end && dash == '-') {
      here = begin <= address && address < end;
    } else if (here && line.starts_with("VmFlags:")) {
      return line.find(" hg") != std::string::npos;
    }
  }
  return false;
}

TEST(HugePages, AreAskedForByLargeTensors) {
  if (!std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled")) {
    GTEST_SKIP() << "this kernel has no transparent huge pages";
  }
  // Beyond what malloc takes from its heap (32 MiB), so in mappings of their own.
  constexpr std::int64_t kNumbers = std::int64_t{64} << 20;
  const std::vector<std::uint8_t> other(kNumbers);
  EXPECT_FALSE(asked_for_huge_pages(other.data() + kNumbers / 2));
  use_huge_pages();
  {
    auto tensor = torch::empty({kNumbers}, torch::kUInt8);
    EXPECT_TRUE(asked_for_huge_pages(tensor.data_ptr<std::uint8_t>() + kNumbers / 2));
    tensor.fill_(3);
    EXPECT_TRUE(tensor.clone().equal(tensor));
  }
  // Small ones, and none, work as before.
  EXPECT_EQ(torch::arange(10).sum().item<std::int64_t>(), 45);
  EXPECT_EQ(torch::empty({0}).numel(), 0);
}

}  // namespace
}  // namespace eigenscale
