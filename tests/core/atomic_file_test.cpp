#include "eigenscale/core/atomic_file.h"

#include <fstream>
#include <iterator>

#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const test::SharedDirectory directory;
  const auto path = directory.path() / "result.txt";
  {
    AtomicFile file(path);
    file.write("one ");
    file.write("two");
    EXPECT_FALSE(std::filesystem::exists(path));
    file.commit();
  }
  EXPECT_EQ(content(path), "one two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(AtomicFile, LeavesTheOldFileWhenDropped) {
  const test::SharedDirectory directory;
  const auto path = directory.path() / "result.txt";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
  }
  EXPECT_EQ(content(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(AtomicFile, NamesThePathItCannotWrite) {
  try {
    AtomicFile file("/no/such/directory/result.txt");
    FAIL();
  } catch (const OutputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("/no/such/directory/result.txt"));
    EXPECT_EQ(error.exit_code(), ExitCode::kOutput);
  }
}

TEST(AtomicFile, ReportsAFullDisk) {
  // /dev/full accepts opening and fails writing; the temporary name must lie beside it, so the
  // link is what stands in for a full file system.
  const test::SharedDirectory directory;
  std::filesystem::create_symlink("/dev/full", directory.path() / ".result.txt.partial");
  AtomicFile file(directory.path() / "result.txt");
  EXPECT_THROW(file.write("data"), OutputError);
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "result.txt"));
}

}  // namespace
}  // namespace eigenscale
