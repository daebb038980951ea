#include "eigenscale/comm/communicator.h"

#include <numeric>

#include "eigenscale/comm/mpi_communicator.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

/// Every case runs with messages in one piece and cut into pieces of five elements, blocking and
/// not: the 64-bit path without 64-bit data.
struct Variant {
  std::int64_t chunk;
  bool asynchronous;
};

class CommunicatorTest : public testing::TestWithParam<Variant> {
 protected:
  MpiCommunicator communicator_{mpi_handle(world()), GetParam().chunk};
  int rank_ = world().rank();
  int size_ = world().size();

  void finish(std::unique_ptr<Work> work) { work->wait(); }
  bool asynchronous() const { return GetParam().asynchronous; }

  // Ragged on purpose: rank r has r + 1 rows, and the last one none.
  Communicator::Counts ragged() const {
    Communicator::Counts counts(size_);
    std::iota(counts.begin(), counts.end(), 1);
    counts.back() = size_ > 1 ? 0 : 1;
    return counts;
  }
};

const std::vector<torch::ScalarType> kTypes = {torch::kUInt8,   torch::kInt8,    torch::kInt16,
                                               torch::kInt32,   torch::kInt64,   torch::kHalf,
                                               torch::kFloat32, torch::kFloat64, torch::kBFloat16};

TEST_P(CommunicatorTest, AllReduceSumsEveryType) {
  for (const auto type : kTypes) {
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
  for (const auto type : kTypes) {
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

INSTANTIATE_TEST_SUITE_P(Variants, CommunicatorTest,
                         testing::Values(Variant{MpiCommunicator::kChunk, false},
                                         Variant{MpiCommunicator::kChunk, true}, Variant{5, false},
                                         Variant{5, true}));

TEST(Communicator, SplitFormsRowsAndOrdersThemByKey) {
  const auto part = world().split(world().rank() % 2, -world().rank());
  const int members = (world().size() + 1 - world().rank() % 2) / 2;
  EXPECT_EQ(part->size(), members);
  EXPECT_EQ(part->rank(), members - 1 - world().rank() / 2);
}

TEST(Communicator, TextTravels) {
  const std::string text = "labels, 0 \xc3\xa9";
  EXPECT_EQ(
      broadcast(world(), world().rank() == world().size() - 1 ? text : "", world().size() - 1),
      text);
  EXPECT_EQ(broadcast(world(), "", 0), "");
}

TEST(Communicator, RefusesWhatIsNotContiguous) {
  const auto strided = torch::zeros({4, 4}).t().narrow(0, 0, 2);
  EXPECT_THROW(world().all_reduce(strided), std::invalid_argument);
}

}  // namespace
}  // namespace eigenscale
