#include "eigenscale/data/snapshot.h"

#include <fstream>

#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const SnapshotKind kPhases = {"test-phases", 2, "phase"};

/// 11 x 3, the same on all ranks.
torch::Tensor all_rows() { return torch::arange(33, torch::kFloat64).view({11, 3}); }

torch::Tensor rows_of(const RowPartition& partition, int rank) {
  const auto own = partition.range(rank);
  return all_rows().narrow(0, own.begin, own.size());
}

/// [collective] One whose rows are cut unevenly: all but the first rank's lie on the last.
void write(const Communicator& communicator, const fs::path& directory, std::int64_t number,
           std::int64_t keep = 9) {
  SnapshotWriter writer(communicator, kPhases, directory, number);
  writer.write_files([&](const fs::path& folder) {
    write_file(folder / "state.json", "{\"number\": " + std::to_string(number) + "}\n");
  });
  const bool first = communicator.rank() == 0;
  const bool last = communicator.rank() + 1 == communicator.size();
  const auto begin = first ? 0 : 4;
  const auto end = last ? 11 : (first ? 4 : begin);
  writer.write_rows("codes", all_rows().narrow(0, begin, end - begin));
  writer.publish(keep);
}

std::string message_of(const Communicator& communicator, const fs::path& path) {
  try {
    verify_snapshot(communicator, kPhases, path);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInput);
    EXPECT_TRUE(error.agreed());
    return error.what();
  }
  return "no error";
}

TEST(SnapshotTest, AnyNumberOfRanksReadsTheRows) {
  const test::SharedDirectory directory;
  write(test::world(), directory.path(), 3);
  const auto newest = newest_snapshot(test::world(), kPhases, directory.path());
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->filename(), "phase-0000000003");
  EXPECT_EQ(message_of(test::world(), *newest), "no error");
  // All ranks, in even blocks.
  const RowPartition even(snapshot_rows(test::world(), *newest, "codes"), test::world().size());
  EXPECT_EQ(even.rows(), 11);
  EXPECT_TRUE(torch::equal(
      read_snapshot_rows(test::world(), *newest, "codes", even.range(test::world().rank())),
      rows_of(even, test::world().rank())));
  // Each rank as if it were alone.
  const auto alone = test::world().split(test::world().rank(), 0);
  EXPECT_TRUE(
      torch::equal(read_snapshot_rows(*alone, *newest, "codes", RowRange{0, 11}), all_rows()));
  EXPECT_THROW(read_snapshot_rows(test::world(), *newest, "codes", RowRange{0, 12}), Error);
  EXPECT_THROW(read_snapshot_rows(test::world(), *newest, "nothing", RowRange{0, 1}), Error);
  test::world().barrier();
}

TEST(SnapshotTest, OneThatWasNotPublishedIsNotThere) {
  const test::SharedDirectory directory;
  write(test::world(), directory.path(), 1);
  {
    SnapshotWriter writer(test::world(), kPhases, directory.path(), 2);
    writer.write_rows("codes", all_rows());
  }
  EXPECT_EQ(newest_snapshot(test::world(), kPhases, directory.path())->filename(),
            "phase-0000000001");
  write(test::world(), directory.path(), 2);  // over what is left of it
  const auto newest = *newest_snapshot(test::world(), kPhases, directory.path());
  EXPECT_EQ(newest.filename(), "phase-0000000002");
  EXPECT_EQ(snapshot_rows(test::world(), newest, "codes"), 11);
  EXPECT_EQ(message_of(test::world(), newest), "no error");
  test::world().barrier();
}

TEST(SnapshotTest, TheLastOnesStayAndOthersAreLeftAlone) {
  const test::SharedDirectory directory;
  EXPECT_FALSE(newest_snapshot(test::world(), kPhases, directory.path() / "nowhere"));
  if (test::world().rank() == 0) {
    fs::create_directory(directory.path() / "phase-1x");
    fs::create_directory(directory.path() / "step-0000000001");
  }
  for (const std::int64_t number : {1, 2, 3, 3}) {
    write(test::world(), directory.path(), number, 2);
  }
  for (const auto& [name, there] : {std::pair{"phase-0000000001", false},
                                    {"phase-0000000002", true},
                                    {"phase-0000000003", true},
                                    {"phase-1x", true},
                                    {"step-0000000001", true}}) {
    EXPECT_EQ(fs::exists(directory.path() / name), there) << name;
  }
  test::world().barrier();
}

TEST(SnapshotTest, DamageIsNamedOnAllRanks) {
  const test::SharedDirectory directory;
  write(test::world(), directory.path(), 1);
  const auto path = *newest_snapshot(test::world(), kPhases, directory.path());
  const auto after = [&](const std::function<void()>& damage) {
    test::world().barrier();
    if (test::world().rank() == 0) {
      damage();
    }
    test::world().barrier();
    return message_of(test::world(), path);
  };
  EXPECT_THAT(after([&] {
                std::fstream file(path / "codes.npy",
                                  std::ios::in | std::ios::out | std::ios::binary);
                file.seekp(200);
                file.put('\x7f');
              }),
              testing::AllOf(HasSubstr("codes.npy' is damaged"), HasSubstr("remove '")));
  EXPECT_THAT(after([&] { fs::remove(path / "codes.npy"); }), HasSubstr("codes.npy' is missing"));
  EXPECT_THAT(after([&] { write_file(path / "manifest.json", "{}"); }),
              HasSubstr("manifest.json' is missing or damaged"));
  EXPECT_THAT(after([&] {
                write_file(path / "manifest.json",
                           R"({"format": "test-phases", "version": 3, "files": {}})");
              }),
              HasSubstr("test-phases 3; this version reads test-phases up to 2"));
  test::world().barrier();
}

}  // namespace
}  // namespace eigenscale
