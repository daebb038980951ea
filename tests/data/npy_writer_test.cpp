#include <sys/resource.h>

#include <csignal>

#include "data/test_files.h"
#include "eigenscale/data/npy_file.h"

namespace eigenscale::test {
namespace {

using testing::HasSubstr;

// Limits the size of files this process may write, so that a write fails as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

bool is_last_rank() { return world().rank() == world().size() - 1; }

TEST(NpyWriter, WritesTheBytesOfTheFormat) {
  const SharedDirectory directory;
  const auto path = directory.path() / "x.npy";
  const RowRange own = own_range(3);
  write_npy(world(), path,
            torch::arange(6, torch::kFloat32).view({3, 2}).slice(0, own.begin, own.end));
  // What numpy.save writes: 'v' = 118 bytes of text, so that the elements begin at byte 128.
  std::string expected("\x93NUMPY\1\0v\0", 10);
  expected += "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
  expected.resize(127, ' ');
  expected += '\n';
  for (int i = 0; i < 6; ++i) {
    append(expected, static_cast<float>(i), std::endian::little);
  }
  EXPECT_EQ(file_bytes(path), expected);
  world().barrier();
}

TEST(NpyWriter, RoundTripsEveryTypeWithRaggedRows) {
  const SharedDirectory directory;
  // Rank r has r rows, so rank 0 has none.
  const std::int64_t rank = world().rank();
  const std::int64_t first = rank * (rank - 1) / 2;
  const std::int64_t total = std::int64_t{world().size()} * (world().size() - 1) / 2;
  for (const auto type :
       {torch::kFloat16, torch::kFloat32, torch::kFloat64, torch::kUInt8, torch::kInt8,
        torch::kInt16, torch::kInt32, torch::kInt64, torch::kBool}) {
    SCOPED_TRACE(torch::toString(type));
    for (const std::vector<std::int64_t>& row_shape :
         {std::vector<std::int64_t>{}, {3}, {2, 2, 2}}) {
      auto shape = row_shape;
      shape.insert(shape.begin(), total);
      const auto all = torch::arange(total * 8, torch::kInt64)
                           .slice(0, 0, c10::multiply_integers(shape))
                           .view(shape)
                           .to(type);
      const auto path = directory.path() / "x.npy";
      write_npy(world(), path, all.slice(0, first, first + rank));
      const NpySource source(path);
      EXPECT_EQ(source.rows(), total);
      EXPECT_EQ(source.row_shape(), row_shape);
      const auto read = source.read_rows({0, total});
      EXPECT_EQ(read.scalar_type(), type);
      EXPECT_TRUE(torch::equal(read, all));
      world().barrier();
    }
  }
}

TEST(NpyWriter, AsksForBoundedChunksInOrder) {
  const SharedDirectory directory;
  const std::int64_t row_bytes = std::int64_t{1} << 20;
  const std::int64_t own = 20;
  std::int64_t next = world().rank() * own;
  write_npy(world(), directory.path() / "x.npy", torch::kUInt8, {row_bytes}, own,
            [&](RowRange range) {
              EXPECT_EQ(range.begin, next);
              EXPECT_LE(range.size(), 16);
              next = range.end;
              return torch::arange(range.begin, range.end, torch::kUInt8)
                  .view({range.size(), 1})
                  .repeat({1, row_bytes});
            });
  const NpySource source(directory.path() / "x.npy");
  ASSERT_EQ(source.rows(), own * world().size());
  for (std::int64_t row = 0; row < source.rows(); ++row) {
    EXPECT_TRUE(source.read_rows({row, row + 1}).eq(row).all().item<bool>());
  }
  world().barrier();
}

// After a failure nothing of the new file is there and a file of that name is as before.
void expect_failure_leaves_old_file(const std::function<void(const std::filesystem::path&)>& write,
                                    const std::string& reason) {
  const SharedDirectory directory;
  const auto path = directory.path() / "x.npy";
  EXPECT_THAT(agreed_error(ExitCode::kOutput, [&] { write(path); }), HasSubstr(reason));
  world().barrier();
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  world().barrier();
  put_file(path, "old");
  EXPECT_THAT(agreed_error(ExitCode::kOutput, [&] { write(path); }), HasSubstr(reason));
  world().barrier();
  EXPECT_EQ(file_bytes(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
  world().barrier();
}

TEST(NpyWriter, ProducerThatThrowsOnOneRankLeavesNoFile) {
  expect_failure_leaves_old_file(
      [](const auto& path) {
        write_npy(world(), path, torch::kFloat32, {}, 5, [](RowRange range) {
          if (is_last_rank()) {
            throw OutputError("no more rows");
          }
          return torch::zeros({range.size()});
        });
      },
      "no more rows");
}

TEST(NpyWriter, FailedWriteOnOneRankLeavesNoFile) {
  expect_failure_leaves_old_file(
      [](const auto& path) {
        const auto rows = torch::zeros({1000});
        if (is_last_rank()) {
          const FileSizeLimit limit(2000);
          write_npy(world(), path, rows);
        } else {
          write_npy(world(), path, rows);
        }
      },
      "cannot write");
}

TEST(NpyWriter, RowsOfAnotherShapeAreRefused) {
  expect_failure_leaves_old_file(
      [](const auto& path) {
        write_npy(world(), path, torch::kFloat32, {2}, 5, [](RowRange range) {
          return torch::zeros({range.size(), 3});
        });
      },
      "another type or shape");
}

TEST(NpyWriter, NamesWhatCannotBeWritten) {
  const SharedDirectory directory;
  const auto rows = torch::zeros({2});
  const auto missing = directory.path() / "none" / "x.npy";
  EXPECT_THAT(agreed_error(ExitCode::kOutput, [&] { write_npy(world(), missing, rows); }),
              testing::AllOf(HasSubstr("none"), HasSubstr("No such file")));
  put_file(directory.path() / "file", "");
  EXPECT_THAT(agreed_error(ExitCode::kOutput,
                           [&] { write_npy(world(), directory.path() / "file" / "x.npy", rows); }),
              HasSubstr("Not a directory"));
  if (world().rank() == 0) {
    std::filesystem::create_directory(directory.path() / "d.npy");
  }
  world().barrier();
  agreed_error(ExitCode::kOutput, [&] { write_npy(world(), directory.path() / "d.npy", rows); });
  world().barrier();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 2);
  world().barrier();
}

TEST(NpyWriter, RanksThatDisagreeAreRefused) {
  if (world().size() == 1) {
    GTEST_SKIP() << "needs two ranks";
  }
  const SharedDirectory directory;
  const auto type = world().rank() == 0 ? torch::kFloat32 : torch::kFloat64;
  EXPECT_THAT(agreed_error(
                  ExitCode::kOptions,
                  [&] { write_npy(world(), directory.path() / "x.npy", torch::zeros({2}, type)); }),
              HasSubstr("differs between ranks"));
}

}  // namespace
}  // namespace eigenscale::test
