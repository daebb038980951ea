#include "eigenscale/core/atomic_file.h"

#include <sys/resource.h>

#include <csignal>
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
  // A limit on the size of files stands in for a full disk.
  const test::SharedDirectory directory;
  rlimit before = {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit little = {16, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  {
    AtomicFile file(directory.path() / "result.txt");
    ::setrlimit(RLIMIT_FSIZE, &little);
    EXPECT_THROW(file.write(std::string(100, 'x')), OutputError);
    ::setrlimit(RLIMIT_FSIZE, &before);
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(AtomicFile, WritersOfOneNameDoNotMeet) {
  const test::SharedDirectory directory;
  const auto path = directory.path() / "result.txt";
  AtomicFile one(path);
  AtomicFile two(path);
  one.write("one");
  two.write("two");
  one.commit();
  EXPECT_EQ(content(path), "one");
  two.commit();
  EXPECT_EQ(content(path), "two");
}

TEST(AtomicFile, FollowsNoLink) {
  const test::SharedDirectory directory;
  write_file(directory.path() / "victim", "precious");
  // Where a name can be guessed, somebody puts a link.
  const auto temporary = temporary_name(directory.path() / "result.txt", "guessed");
  std::filesystem::create_symlink(directory.path() / "victim", temporary);
  EXPECT_THROW(create_temporary(temporary, directory.path() / "result.txt"), OutputError);
  EXPECT_THROW(publish_file(temporary, directory.path() / "result.txt"), OutputError);
  // The name itself may be one: it is replaced, not followed.
  std::filesystem::create_symlink(directory.path() / "victim", directory.path() / "result.txt");
  write_file(directory.path() / "result.txt", "new");
  EXPECT_EQ(content(directory.path() / "victim"), "precious");
  EXPECT_FALSE(std::filesystem::is_symlink(directory.path() / "result.txt"));
}

TEST(AtomicFile, RemovesWhatKilledWritersLeft) {
  const test::SharedDirectory directory;
  const auto path = directory.path() / "result.txt";
  write_file(temporary_name(path, unique_token()), "half");
  write_file(temporary_name(path), "half");
  write_file(directory.path() / ".result.txt.notes", "mine");
  remove_temporaries(path);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

}  // namespace
}  // namespace eigenscale
