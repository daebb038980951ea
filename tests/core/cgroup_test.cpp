#include "eigenscale/core/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "eigenscale/core/memory.h"

namespace eigenscale {
namespace {

using std::filesystem::path;

class CgroupTest : public testing::Test {
 protected:
  CgroupTest()
      : root_(std::filesystem::temp_directory_path() /
              ("eigenscale_cgroup_" + std::to_string(::getpid()))) {}
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text << '\n';
  }

  path root_;
};

TEST_F(CgroupTest, NothingIsLimitedWithoutGroups) {
  EXPECT_FALSE(cgroup_limits(root_).memory);
  EXPECT_FALSE(cgroup_limits(root_).processors);
  write("proc/self/cgroup", "0::/");
  write("sys/fs/cgroup/memory.max", "max");
  write("sys/fs/cgroup/cpu.max", "max 100000");
  EXPECT_FALSE(cgroup_limits(root_).memory);
  EXPECT_FALSE(cgroup_limits(root_).processors);
}

TEST_F(CgroupTest, TheTightestOfNestedGroupsCounts) {
  write("proc/self/cgroup", "0::/job/step");
  write("sys/fs/cgroup/job/memory.max", "4000");
  write("sys/fs/cgroup/job/memory.current", "1500");
  write("sys/fs/cgroup/job/memory.stat", "anon 900\ninactive_file 500");
  write("sys/fs/cgroup/job/step/memory.max", "max");
  write("sys/fs/cgroup/job/step/cpu.max", "250000 100000");
  write("sys/fs/cgroup/job/cpu.max", "800000 100000");
  EXPECT_EQ(cgroup_limits(root_).memory, 3000);
  EXPECT_EQ(cgroup_limits(root_).processors, 2.5);
}

TEST_F(CgroupTest, VersionOneIsRead) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/job\n3:memory:/job\n1:name=systemd:/job");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000");
  write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "2000");
  write("sys/fs/cgroup/memory/job/memory.stat", "total_inactive_file 100");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "150000");
  write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
  EXPECT_EQ(cgroup_limits(root_).memory, 3100);
  EXPECT_EQ(cgroup_limits(root_).processors, 1.5);
}

TEST_F(CgroupTest, AContainerThatSeesItsHostsNameUsesItsMount) {
  write("proc/self/cgroup", "0::/docker/0123456789");
  write("sys/fs/cgroup/memory.max", "1000");
  write("sys/fs/cgroup/memory.current", "1200");
  EXPECT_EQ(cgroup_limits(root_).memory, 0);
}

TEST(Memory, AvailableIsPositiveAndWithinTheMachine) {
  EXPECT_GT(available_memory_bytes(), 0);
  const auto current = current_memory_bytes();  // first: it grows
  EXPECT_GT(current, 0);
  EXPECT_LE(current, peak_memory_bytes());
}

}  // namespace
}  // namespace eigenscale
