#include "eigenscale/comm/communicator.h"

#include <numeric>

#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/staged_communicator.h"
#include "eigenscale/core/trace.h"
#include "support/mpi_test.h"
#include "support/nccl_world.h"

namespace eigenscale {
namespace {

using test::world;

enum class Library { kMpi, kNccl, kStaged };

/// Every case runs with MPI's messages in one piece and cut into pieces of five elements, the
/// 64-bit path without 64-bit data, with NCCL's calls on the double of a device, and through copies
/// on the host; blocking and not.
struct Variant {
  Library library;
  std::int64_t chunk;
  bool asynchronous;
};

class CommunicatorTest : public testing::TestWithParam<Variant> {
 protected:
  CommunicatorTest()
      : mpi_(mpi_handle(world()), GetParam().chunk),
        transfer_(test::device_double(), torch::kCPU),
        staged_(mpi_, transfer_),
        communicator_(of(GetParam().library)) {}
  void TearDown() override {
    EXPECT_THAT(test::device_double().take_violations(), testing::IsEmpty());
  }

  Communicator& of(Library library) {
    switch (library) {
      case Library::kMpi:
        return mpi_;
      case Library::kNccl:
        return test::nccl_world();
      case Library::kStaged:
        return staged_;
    }
    throw std::logic_error("no such library");
  }

  MpiCommunicator mpi_;
  DeviceTransfer transfer_;
  StagedCommunicator staged_;
  Communicator& communicator_;
  int rank_ = world().rank();
  int size_ = world().size();

  void finish(std::unique_ptr<Work> work) { work->wait(); }
  bool asynchronous() const { return GetParam().asynchronous; }

  std::vector<torch::ScalarType> types() const {
    std::vector<torch::ScalarType> result = {torch::kUInt8,   torch::kInt8,    torch::kInt32,
                                             torch::kInt64,   torch::kHalf,    torch::kFloat32,
                                             torch::kFloat64, torch::kBFloat16};
    if (GetParam().library != Library::kNccl) {
      result.push_back(torch::kInt16);
    }
    return result;
  }

  // Ragged on purpose: rank r has r + 1 rows, and the last one none.
  Communicator::Counts ragged() const {
    Communicator::Counts counts(size_);
    std::iota(counts.begin(), counts.end(), 1);
    counts.back() = size_ > 1 ? 0 : 1;
    return counts;
  }
};

TEST_P(CommunicatorTest, AllReduceSumsEveryType) {
  for (const auto type : types()) {
    auto values = (torch::arange(13) % 5 + rank_).to(type);
    if (asynchronous()) {
      finish(communicator_.start_all_reduce(values, ReduceOp::kSum));
    } else {
      communicator_.all_reduce(values);
    }
    const auto expected = (torch::arange(13) % 5 * size_ + size_ * (size_ - 1) / 2).to(type);
    EXPECT_TRUE(values.equal(expected)) << torch::toString(type);
  }
}

TEST_P(CommunicatorTest, AllReduceMaximumAndMinimum) {
  for (const auto type : types()) {
    auto largest = torch::full({3}, rank_ + 1).to(type);
    auto smallest = torch::full({3}, rank_ + 1).to(type);
    communicator_.all_reduce(largest, ReduceOp::kMax);
    communicator_.all_reduce(smallest, ReduceOp::kMin);
    EXPECT_EQ(largest[0].item<double>(), size_);
    EXPECT_EQ(smallest[0].item<double>(), 1);
  }
}

TEST_P(CommunicatorTest, AllGatherJoinsRaggedRows) {
  const auto counts = ragged();
  const auto own = torch::full({counts[rank_], 3}, rank_, torch::kFloat32);
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  auto all = torch::full({total, 3}, -1, torch::kFloat32);
  if (asynchronous()) {
    finish(communicator_.start_all_gather(all, own, counts));
  } else {
    communicator_.all_gather(all, own, counts);
  }
  std::int64_t row = 0;
  for (int r = 0; r < size_; ++r) {
    for (std::int64_t i = 0; i < counts[r]; ++i) {
      EXPECT_TRUE((all[row++] == r).all().item<bool>());
    }
  }
}

TEST_P(CommunicatorTest, ReduceScatterGivesEachRankItsSum) {
  const auto counts = ragged();
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto all = torch::arange(total * 2, torch::kFloat64).reshape({total, 2}) * (rank_ + 1);
  auto own = torch::zeros({counts[rank_], 2}, torch::kFloat64);
  if (asynchronous()) {
    finish(communicator_.start_reduce_scatter(own, all.contiguous(), ReduceOp::kSum, counts));
  } else {
    communicator_.reduce_scatter(own, all.contiguous(), ReduceOp::kSum, counts);
  }
  const std::int64_t first =
      std::accumulate(counts.begin(), counts.begin() + rank_, std::int64_t{0});
  const auto expected =
      (torch::arange(total * 2, torch::kFloat64).reshape({total, 2}) * (size_ * (size_ + 1) / 2))
          .narrow(0, first, counts[rank_]);
  EXPECT_TRUE(own.equal(expected));
}

TEST_P(CommunicatorTest, BroadcastAndReduceForEveryRoot) {
  for (int root = 0; root < size_; ++root) {
    auto values = torch::full({11}, rank_, torch::kInt64);
    auto sum = torch::full({11}, rank_ + 1, torch::kFloat32);
    if (asynchronous()) {
      finish(communicator_.start_broadcast(values, root));
      finish(communicator_.start_reduce(sum, ReduceOp::kSum, root));
    } else {
      communicator_.broadcast(values, root);
      communicator_.reduce(sum, ReduceOp::kSum, root);
    }
    EXPECT_TRUE((values == root).all().item<bool>());
    if (rank_ == root) {
      EXPECT_EQ(sum[10].item<double>(), size_ * (size_ + 1) / 2.0);
    }
  }
}

TEST_P(CommunicatorTest, AllToAllTransposesRaggedPieces) {
  // Rank r sends r + to rows to rank `to`, each row marked 100 r + to.
  Communicator::Counts send(size_);
  Communicator::Counts receive(size_);
  std::vector<torch::Tensor> pieces;
  for (int other = 0; other < size_; ++other) {
    send[other] = rank_ + other;
    receive[other] = other + rank_;
    pieces.push_back(torch::full({send[other], 2}, 100 * rank_ + other, torch::kInt32));
  }
  const auto input = torch::cat(pieces);
  auto output = torch::full_like(input, -1);
  if (asynchronous()) {
    finish(communicator_.start_all_to_all(output, input, receive, send));
  } else {
    communicator_.all_to_all(output, input, receive, send);
  }
  std::int64_t row = 0;
  for (int other = 0; other < size_; ++other) {
    for (std::int64_t i = 0; i < receive[other]; ++i) {
      EXPECT_EQ(output[row++][1].item<int>(), 100 * other + rank_);
    }
  }
}

TEST_P(CommunicatorTest, ShiftMovesAroundTheRing) {
  for (const int distance : {1, -1, 2, size_}) {
    const auto own = torch::full({7}, rank_, torch::kFloat64);
    auto received = torch::zeros({7}, torch::kFloat64);
    communicator_.shift(received, own, distance);
    const int from = ((rank_ - distance) % size_ + size_) % size_;
    EXPECT_EQ(received[6].item<double>(), from);
  }
}

TEST_P(CommunicatorTest, EmptyTensorsPass) {
  auto nothing = torch::empty({0}, torch::kFloat32);
  communicator_.all_reduce(nothing);
  communicator_.broadcast(nothing, 0);
  communicator_.barrier();
  finish(communicator_.start_barrier());
}

TEST_P(CommunicatorTest, EqualPartsAreGatheredAndScatteredWithOneCall) {
  const Communicator::Counts counts(size_, 2);
  const auto own = torch::full({2, 3}, rank_, torch::kInt64);
  auto all = torch::full({2 * size_, 3}, -1, torch::kInt64);
  communicator_.all_gather(all, own, counts);
  const auto expected = torch::arange(size_).repeat_interleave(2).unsqueeze(1).expand({-1, 3});
  EXPECT_TRUE(all.equal(expected));
  auto sum = torch::zeros({2, 3}, torch::kInt64);
  communicator_.reduce_scatter(sum, all, ReduceOp::kSum, counts);
  EXPECT_TRUE(sum.equal(own * size_));
}

TEST_P(CommunicatorTest, SplitFormsRowsAndOrdersThemByKey) {
  const auto part = communicator_.split(rank_ % 2, -rank_);
  const int members = (size_ + 1 - rank_ % 2) / 2;
  EXPECT_EQ(part->size(), members);
  EXPECT_EQ(part->rank(), members - 1 - rank_ / 2);
  EXPECT_EQ(all_reduce(*part, std::int64_t{1}), members);
}

TEST_P(CommunicatorTest, TextTravels) {
  const std::string text = "labels, 0 \xc3\xa9";
  EXPECT_EQ(broadcast(communicator_, rank_ == size_ - 1 ? text : "", size_ - 1), text);
  EXPECT_EQ(broadcast(communicator_, "", 0), "");
}

TEST_P(CommunicatorTest, RefusesWhatIsNotContiguousOrTooSmall) {
  const auto strided = torch::zeros({4, 4}).t().narrow(0, 0, 2);
  EXPECT_THROW(communicator_.all_reduce(strided), std::invalid_argument);
  const Communicator::Counts counts(size_, 2);
  EXPECT_THROW(communicator_.all_gather(torch::zeros({2 * size_}), torch::zeros({1}), counts),
               std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Variants, CommunicatorTest,
                         testing::Values(Variant{Library::kMpi, MpiCommunicator::kChunk, false},
                                         Variant{Library::kMpi, MpiCommunicator::kChunk, true},
                                         Variant{Library::kMpi, 5, false},
                                         Variant{Library::kMpi, 5, true},
                                         Variant{Library::kNccl, 0, false},
                                         Variant{Library::kNccl, 0, true},
                                         Variant{Library::kStaged, 5, true}));

/// As of ranks on several hosts: a sum over them takes another of MPI's calls.
TEST(LargeSums, AreRightAndTheSameEveryTime) {
  const MpiCommunicator several(mpi_handle(world()), MpiCommunicator::kChunk,
                                MpiCommunicator::Hosts::kSeveral);
  const auto values = MpiCommunicator::kLargeSum / 4 + 7;
  torch::manual_seed(3 + world().rank());
  const auto own = torch::randn({values});
  const auto sum = [&](const Communicator& communicator) {
    auto result = own.clone();
    communicator.all_reduce(result);
    return result;
  };
  const auto calls = counters()["communication.calls"];
  const auto first = sum(several);
  EXPECT_EQ(counters()["communication.calls"], calls + 1);
  for (int repeat = 0; repeat < 5; ++repeat) {
    EXPECT_TRUE(torch::equal(sum(several), first));
  }
  EXPECT_TRUE(torch::allclose(first, sum(world()), 1e-5, 1e-5));
  auto rank0 = first.clone();
  world().broadcast(rank0, 0);
  EXPECT_TRUE(torch::equal(rank0, first));
  // Of one host and found out to be so.
  const MpiCommunicator found(mpi_handle(world()));
  EXPECT_TRUE(torch::equal(sum(found), sum(world())));
}

}  // namespace
}  // namespace eigenscale
