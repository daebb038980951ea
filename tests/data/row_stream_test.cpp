#include "eigenscale/data/row_stream.h"

#include <chrono>
#include <filesystem>
#include <limits>
#include <thread>

#include "data/test_files.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale::test {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kRows = 23;
constexpr std::int64_t kFeatures = 6;

torch::Tensor values() {
  return torch::arange(kRows * kFeatures, torch::kFloat64).view({kRows, kFeatures});
}

std::vector<double> numbers() {
  std::vector<double> result(kRows * kFeatures);
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = static_cast<double>(i);
  }
  return result;
}

class Streaming : public testing::Test {
 protected:
  // The directory must not go before all ranks are done with it.
  void TearDown() override { world().barrier(); }

  std::unique_ptr<SampleSource> put(const std::vector<double>& numbers) {
    const auto path = directory_.path() / "rows.npy";
    put_file(path, npy_of("(23, 2, 3)", numbers));
    return open_sample_source(world(), path);
  }
  SharedDirectory directory_;
};

// What the pieces of one walk hold behind each other, and how many there were.
struct Walked {
  std::vector<torch::Tensor> pieces;
  std::int64_t next = 0;

  void operator()(const RowPiece& piece) {
    EXPECT_EQ(piece.range.begin, next);
    EXPECT_EQ(piece.rows.sizes(), c10::IntArrayRef({piece.range.size(), kFeatures}));
    next = piece.range.end;
    pieces.push_back(piece.rows);
  }
  torch::Tensor rows() const { return torch::cat(pieces); }
};

TEST_F(Streaming, PiecesOfFileAndMemoryAreTheRowsInOrder) {
  const auto source = put(numbers());
  const RowRange own = own_range(kRows);
  const FileRows file(*source, own, 0.5);
  const auto expected = (values() * 0.5).slice(0, own.begin, own.end);
  const MemoryRows memory(expected.reshape({own.size(), 2, 3}));
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    for (const RowProvider* provider :
         {static_cast<const RowProvider*>(&file), static_cast<const RowProvider*>(&memory)}) {
      for (const bool ahead : {false, true}) {
        const RowStream stream(world(), *provider,
                               {.type = type,
                                .piece_bytes = 4 * kFeatures * (type == torch::kFloat32 ? 4 : 8),
                                .read_ahead = ahead});
        EXPECT_EQ(stream.rows(), kRows);
        EXPECT_EQ(stream.own_rows(), own.size());
        EXPECT_EQ(stream.features(), kFeatures);
        EXPECT_EQ(stream.piece_rows(), 4);
        for (int pass = 0; pass < 2; ++pass) {
          Walked together;
          stream.for_each_piece(std::ref(together));
          EXPECT_TRUE(torch::equal(together.rows(), expected.to(type)));
          // As often on every rank, so that the work may be collective.
          const std::int64_t block = RowPartition(kRows, world().size()).block();
          EXPECT_EQ(std::ssize(together.pieces), (block + 3) / 4);
        }
      }
    }
  }
}

TEST_F(Streaming, ARankWalksOverItsOwnPiecesAlone) {
  // As many rows as the rank's number: none on rank 0.
  const std::int64_t rows = world().rank() * 5;
  const auto own = torch::rand({rows, kFeatures});
  const MemoryRows memory(own);
  const RowStream stream(world(), memory, {.piece_bytes = 3 * kFeatures * 4});
  Walked walked;
  const auto agreements = counters()["communication.calls"];
  stream.for_each_own_piece(std::ref(walked));
  EXPECT_EQ(std::ssize(walked.pieces), (rows + 2) / 3);
  EXPECT_EQ(walked.next, rows);
  EXPECT_EQ(counters()["communication.calls"] - agreements, world().size() > 1 ? 1 : 0);
  // In step the ranks have equal numbers of pieces however unequal their rows are.
  std::int64_t pieces = 0;
  stream.for_each_piece([&](const RowPiece&) {
    EXPECT_EQ(all_reduce(world(), pieces, ReduceOp::kMin), pieces);
    ++pieces;
  });
  EXPECT_EQ(pieces, ((world().size() - 1) * 5 + 2) / 3);
}

TEST_F(Streaming, SelectedRows) {
  const auto source = put(numbers());
  const FileRows all(*source, {0, kRows});
  const std::vector<std::int64_t> positions = {3, 4, 5, 22, 0, 0};
  EXPECT_TRUE(torch::equal(all.read_at(positions, torch::kFloat64),
                           values().index_select(0, torch::tensor(positions))));
  EXPECT_EQ(all.read_at({}, torch::kFloat32).sizes(), c10::IntArrayRef({0, kFeatures}));
}

TEST_F(Streaming, AValueThatIsNotFiniteEndsTheWalkOnAllRanks) {
  auto bad = numbers();
  bad[22 * kFeatures + 5] = std::numeric_limits<double>::infinity();
  const auto source = put(bad);
  const FileRows file(*source, own_range(kRows));
  for (const bool ahead : {false, true}) {
    const RowStream stream(
        world(), file,
        {.type = torch::kFloat64, .piece_bytes = 2 * kFeatures * 8, .read_ahead = ahead});
    EXPECT_THAT(agreed_error(ExitCode::kInput, [&] { stream.for_each_piece([](const auto&) {}); }),
                HasSubstr("row 22, element (1, 2) is inf"));
  }
}

// Rows are checked once; what was not yet read, or not yet in this type, is no such row.
TEST_F(Streaming, AValueThatIsNotFiniteIsFoundBehindRowsThatWereChecked) {
  auto bad = numbers();
  bad[15 * kFeatures] = 1e300;  // a double, and no float
  bad[20 * kFeatures] = std::numeric_limits<double>::quiet_NaN();
  const auto source = put(bad);
  const FileRows file(*source, {0, kRows});
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_NO_THROW(file.read({21, kRows}, torch::kFloat64));
    EXPECT_NO_THROW(file.read({0, 10}, torch::kFloat64));
    EXPECT_NO_THROW(file.read({5, 20}, torch::kFloat64));
    EXPECT_THROW(file.read({12, 21}, torch::kFloat64), InputError);
    EXPECT_THROW(file.read({20, 21}, torch::kFloat64), InputError);
    EXPECT_THROW(file.read({0, kRows}, torch::kFloat64), InputError);
    EXPECT_NO_THROW(file.read({0, 15}, torch::kFloat32));
    EXPECT_THROW(file.read({10, 16}, torch::kFloat32), InputError);
  }
}

// Ones, and infinities from the second read on.
class ChangingSource final : public SampleSource {
 public:
  explicit ChangingSource(bool noticed)
      : SampleSource({.name = "changing", .rows = 4, .row_shape = {2}}), noticed_(noticed) {}
  torch::Tensor read_rows(RowRange range) const override {
    return torch::full({range.size(), 2},
                       reads_++ == 0 ? 1.0 : std::numeric_limits<double>::infinity(),
                       torch::kFloat32);
  }
  bool notices_writes() const override { return noticed_; }

 private:
  bool noticed_;
  mutable int reads_ = 0;
};

TEST_F(Streaming, WhatMayChangeUnnoticedIsCheckedAtEveryRead) {
  for (const bool noticed : {true, false}) {
    const ChangingSource source(noticed);
    const FileRows file(source, {0, 4});
    EXPECT_NO_THROW(file.read({0, 4}, torch::kFloat32));
    if (noticed) {  // no time is spent on it
      EXPECT_NO_THROW(file.read({0, 4}, torch::kFloat32));
    } else {
      EXPECT_THROW(file.read({0, 4}, torch::kFloat32), InputError);
    }
  }
}

TEST_F(Streaming, AFileThatIsWrittenToIsNoLongerRead) {
  const auto source = put(numbers());
  const FileRows file(*source, {0, kRows});
  EXPECT_NO_THROW(file.read({0, kRows}, torch::kFloat64));
  world().barrier();
  if (world().rank() == 0) {  // what any write does
    const auto path = directory_.path() / "rows.npy";
    std::filesystem::last_write_time(
        path, std::filesystem::last_write_time(path) + std::chrono::milliseconds(5));
  }
  world().barrier();
  try {
    file.read({0, 1}, torch::kFloat64);
    FAIL() << "read a file that had changed";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("changed while it was read"));
  }
}

TEST_F(Streaming, RanksAgreeOnTheirOwnPiecesEvery32MiB) {
  // Two rows of 15 MiB lie between two agreements; the last rank has three, the others two or none.
  constexpr std::int64_t kWide = 15 << 18;
  const bool last = world().rank() + 1 == world().size();
  const MemoryRows memory(torch::zeros({last ? 3 : world().rank() % 2 * 2, kWide}));
  const RowStream stream(world(), memory, {.piece_bytes = 1 << 20, .read_ahead = false});
  std::int64_t pieces = 0;
  const auto agreements = counters()["communication.calls"];
  stream.for_each_own_piece([&](const RowPiece& piece) {
    EXPECT_EQ(piece.rows.size(0), 1);
    ++pieces;
  });
  EXPECT_EQ(pieces, memory.rows());
  EXPECT_EQ(counters()["communication.calls"] - agreements, 2);
  // One that fails ends all, at the agreement that follows.
  pieces = 0;
  try {
    stream.for_each_own_piece([&](const RowPiece&) {
      ++pieces;
      if (last) {
        throw InputError("enough");
      }
    });
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_TRUE(error.agreed());
    EXPECT_EQ(error.exit_code(), ExitCode::kInput);
    EXPECT_LE(pieces, 2);
  }
}

TEST_F(Streaming, AnErrorOfTheWorkLeavesNoReaderBehind) {
  const auto source = put(numbers());
  const FileRows file(*source, {0, kRows});
  const RowStream stream(world(), file, {.piece_bytes = kFeatures * 4});
  EXPECT_THROW(stream.for_each_own_piece([](const auto&) { throw InputError("enough"); }), Error);
}

TEST_F(Streaming, WaitingIsTold) {
  const auto source = put(numbers());
  const FileRows file(*source, own_range(kRows));
  std::vector<bool> told;
  const RowStream stream(world(), file, {.piece_bytes = 100 << 20, .on_read = [&](bool reading) {
                                           told.push_back(reading);
                                         }});
  stream.for_each_piece([](const auto&) {});
  EXPECT_EQ(told, (std::vector<bool>{true, false}));
}

TEST_F(Streaming, WaitingForOtherRanksIsNotReading) {
  using Seconds = std::chrono::duration<double>;
  using Clock = std::chrono::steady_clock;
  const auto source = put(numbers());
  const FileRows file(*source, own_range(kRows));
  auto begin = Clock::now();
  double reading = 0;
  const RowStream stream(world(), file, {.piece_bytes = kFeatures * 4, .on_read = [&](bool begins) {
                                           if (begins) {
                                             begin = Clock::now();
                                           } else {
                                             reading += Seconds(Clock::now() - begin).count();
                                           }
                                         }});
  // The first rank works on its first piece for a second, which the others wait for.
  constexpr Seconds kWork(1);
  stream.for_each_piece([&](const RowPiece& piece) {
    if (world().rank() == 0 && piece.range.begin == 0) {
      std::this_thread::sleep_for(kWork);
    }
  });
  EXPECT_LT(reading, kWork.count() / 2);
}

}  // namespace
}  // namespace eigenscale::test
