#include "eigenscale/comm/nccl_communicator.h"

#include <chrono>
#include <memory>
#include <thread>

#include "eigenscale/core/errors.h"
#include "support/nccl_world.h"

namespace eigenscale {
namespace {

using test::DeviceDouble;
using test::world;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

/// Forgets events on purpose.
class CarelessDouble final : public DeviceDouble {
 public:
  CarelessDouble() : DeviceDouble({.fatal = false}) {}
  bool before = false;  ///< calls do not wait for what computed their tensors
  bool after = false;   ///< what computes does not wait for calls
  void wait(DeviceStream stream, DeviceEvent event) override {
    if (!(stream == current_stream() ? after : before)) {
      DeviceDouble::wait(stream, event);
    }
  }
};

/// Never destroyed: their threads may be at work until the process ends.
CarelessDouble& careless_double() {
  static auto& device = *new CarelessDouble;
  return device;
}

std::string error_of(Work& work) {
  for (int i = 0; i < 20000; ++i) {
    try {
      if (work.test()) {
        return "";
      }
    } catch (const CommunicationError& error) {
      return error.what();
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  return "neither done nor failed";
}

TEST(NcclCommunicator, ACallThatDoesNotWaitForItsTensorIsCaught) {
  auto& device = careless_double();
  const NcclCommunicator communicator(world(), device, 0);
  device.take_violations();
  auto values = torch::ones({100}) * 2;
  device.before = true;
  communicator.all_reduce(values);
  device.before = false;
  EXPECT_THAT(device.take_violations(),
              Contains(AllOf(HasSubstr("missing event: ncclAllReduce"), HasSubstr("aten::mul"))));
  communicator.all_reduce(values);
  EXPECT_THAT(device.take_violations(), IsEmpty());
}

// Of memory that is let go and shared out anew, another thread may be at one piece while a batch
// is brought into another.
TEST(NcclCommunicator, APieceOfMemoryIsNotTakenForWhatOnceLayThere) {
  auto& device = test::device_double();
  const auto stream = device.make_stream();
  const auto event = device.make_event();
  device.take_violations();
  auto whole = torch::ones({100});
  device.record(event, device.current_stream());
  device.wait(stream, event);
  whole.narrow(0, 0, 40).mul_(2);
  const auto host = torch::zeros({60});
  device.copy(whole.narrow(0, 40, 60), host, stream);
  EXPECT_THAT(device.take_violations(), IsEmpty());
  device.copy(whole.narrow(0, 39, 60), host, stream);
  EXPECT_THAT(device.take_violations(),
              Contains(AllOf(HasSubstr("missing event: a copy"), HasSubstr("aten::mul_"))));
  device.record(event, stream);
  device.wait(device.current_stream(), event);
  while (!device.done(event)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  device.free_event(event);
  device.free_stream(stream);
}

TEST(NcclCommunicator, AReadThatDoesNotWaitForTheCallIsCaught) {
  auto& device = careless_double();
  const NcclCommunicator communicator(world(), device, 0);
  device.take_violations();
  auto values = torch::ones({100});
  device.after = true;
  communicator.all_reduce(values);
  EXPECT_THAT(device.take_violations(), IsEmpty()) << "nobody has read yet";
  communicator.all_reduce(values);
  (values + 1).sum().item<double>();
  EXPECT_THAT(device.take_violations(),
              Contains(AllOf(HasSubstr("early read: aten::add"), HasSubstr("ncclAllReduce"))));
  device.after = false;
  communicator.all_reduce(values);
  (values + 1).sum().item<double>();
  EXPECT_THAT(device.take_violations(), IsEmpty());
}

TEST(NcclCommunicator, AWriteThatDoesNotWaitForTheCallIsCaughtAndAReadOfItsInputIsNone) {
  auto& device = test::device_double();
  auto& communicator = test::nccl_world();
  const auto own = torch::full({2, 3}, world().rank(), torch::kFloat32);
  auto all = torch::zeros({2 * world().size(), 3});
  auto work = communicator.start_all_gather(all, own, Communicator::Counts(world().size(), 2));
  own.sum().item<double>();
  EXPECT_THAT(device.take_violations(), IsEmpty());
  work->wait();
  auto second = communicator.start_all_gather(all, own, Communicator::Counts(world().size(), 2));
  torch::Tensor(own).zero_();
  EXPECT_THAT(device.take_violations(), Contains(HasSubstr("early write: aten::zero_")));
  second->wait();
}

TEST(NcclCommunicator, MemoryThatGoesBeforeTheCallIsOverIsCaughtUnlessItIsKept) {
  auto& device = test::device_double();
  auto id = world().rank() == 0 ? device.make_id() : NcclId{};
  auto bytes = torch::from_blob(id.data(), {static_cast<std::int64_t>(id.size())}, torch::kInt8);
  world().broadcast(bytes, 0);
  const auto handle = device.begin_communicator(id, world().rank(), world().size());
  while (!device.settled(handle)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto stream = device.make_stream();
  for (const bool kept : {true, false}) {
    const auto event = device.make_event();
    {
      const auto values = torch::ones({100});
      device.record(event, device.current_stream());
      device.wait(stream, event);
      device.all_reduce(handle, values, ReduceOp::kSum, stream);
      if (kept) {
        device.keep(values, stream);
      }
    }
    device.record(event, stream);
    device.wait(device.current_stream(), event);
    const auto violations = device.take_violations();
    if (kept) {
      EXPECT_THAT(violations, IsEmpty());
    } else {
      EXPECT_THAT(violations, Contains(HasSubstr("freed buffer: the memory of ncclAllReduce")));
    }
    device.free_event(event);
  }
  device.free_stream(stream);
}

TEST(NcclCommunicator, AWorkThatIsDroppedKeepsItsMemory) {
  auto& device = test::device_double();
  test::nccl_world().start_all_reduce(torch::ones({1000}), ReduceOp::kSum);
  test::nccl_world().barrier();
  EXPECT_THAT(device.take_violations(), IsEmpty());
}

TEST(NcclCommunicator, OtherCallsAndOtherSizesAreErrorsThatNameTheCall) {
  if (world().size() == 1) {
    GTEST_SKIP() << "one rank makes the same calls";
  }
  const bool last = world().rank() == world().size() - 1;
  for (const bool other_size : {false, true}) {
    const NcclCommunicator communicator(world(), test::device_double(), 0);
    const auto values = torch::ones({last && other_size ? 50 : 100}, torch::kFloat64);
    auto work = last && !other_size ? communicator.start_broadcast(values, world().rank())
                                    : communicator.start_all_reduce(values, ReduceOp::kSum);
    if (world().rank() == 0) {
      const auto error = error_of(*work);
      EXPECT_THAT(error, AllOf(HasSubstr("ncclAllReduce of 800 bytes failed on rank 0"),
                               HasSubstr(other_size ? "ncclAllReduce of 400 bytes"
                                                    : "ncclBroadcast of 800 bytes")));
      EXPECT_THROW(communicator.start_all_reduce(values, ReduceOp::kSum), CommunicationError);
    }
    world().barrier();
  }
  test::device_double().take_violations();
}

TEST(NcclCommunicator, ABarrierHoldsUpTheHost) {
  world().barrier();
  const auto begin = std::chrono::steady_clock::now();
  if (world().rank() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  test::nccl_world().barrier();
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
  // Below the 100 ms by how far apart ranks left the first barrier.
  EXPECT_GT(waited.count(), 0.05);
}

TEST(NcclCommunicator, RefusesTypesThatNcclDoesNotReduce) {
  EXPECT_THROW(test::nccl_world().all_reduce(torch::ones({3}, torch::kInt16)),
               std::invalid_argument);
  EXPECT_THROW(test::nccl_world().all_gather(torch::zeros({2 * world().size()}),
                                             torch::ones({2}, torch::kFloat64),
                                             Communicator::Counts(world().size(), 2)),
               std::invalid_argument);
  auto moved = torch::full({3}, world().rank(), torch::kInt16);
  test::nccl_world().broadcast(moved, 0);
  EXPECT_TRUE(moved.equal(torch::zeros({3}, torch::kInt16)));
}

/// On real GPUs, where there is one for each rank.
class NcclOnGpusTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string problem = "this build has no CUDA";
    auto* runtime = device_runtime();
    std::int64_t devices = 0;
    if (runtime != nullptr) {
      devices = std::ssize(runtime->devices(problem));
      problem = runtime->libtorch_problem();
    }
    // Asked of all: a rank that skips alone would leave the others waiting.
    const auto least = all_reduce(world(), problem.empty() ? devices : 0, ReduceOp::kMin);
    if (least < world().size()) {
      GTEST_SKIP() << world().size() << " ranks need as many GPUs and a libtorch with CUDA";
    }
    communicator_ = std::make_unique<NcclCommunicator>(world(), *runtime, world().rank());
  }
  torch::Tensor on_gpu(const torch::Tensor& values) { return values.to(communicator_->device()); }

  std::unique_ptr<NcclCommunicator> communicator_;
};

TEST_F(NcclOnGpusTest, ReductionsAreThoseOfMpi) {
  // Small integers: exact in every type and order of summation.
  for (const auto type : {torch::kUInt8, torch::kInt8, torch::kInt32, torch::kInt64, torch::kHalf,
                          torch::kFloat32, torch::kFloat64, torch::kBFloat16}) {
    for (const auto op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      auto expected = (torch::arange(1000) % 7 + world().rank()).to(type);
      const auto values = on_gpu(expected);
      communicator_->all_reduce(values, op);
      world().all_reduce(expected, op);
      EXPECT_TRUE(values.cpu().equal(expected)) << torch::toString(type);
    }
  }
}

TEST_F(NcclOnGpusTest, RaggedRowsAreGatheredAndDealtAsByMpi) {
  Communicator::Counts counts;
  for (int rank = 0; rank < world().size(); ++rank) {
    counts.push_back(rank + 1);
  }
  counts.back() = 2;
  std::int64_t total = 0;
  for (const auto rows : counts) {
    total += rows;
  }
  const auto own = torch::full({counts[world().rank()], 3}, world().rank());
  auto expected = torch::zeros({total, 3}, torch::kInt64);
  world().all_gather(expected, own, counts);
  const auto all = on_gpu(torch::zeros({total, 3}, torch::kInt64));
  communicator_->all_gather(all, on_gpu(own), counts);
  EXPECT_TRUE(all.cpu().equal(expected));
  const auto sum = on_gpu(torch::zeros_like(own));
  communicator_->reduce_scatter(sum, all, ReduceOp::kSum, counts);
  EXPECT_TRUE(sum.cpu().equal(own * world().size()));
  const auto moved = on_gpu(torch::zeros({5}));
  communicator_->shift(moved, on_gpu(torch::full({5}, static_cast<float>(world().rank()))), 1);
  EXPECT_EQ(moved[4].item<double>(), (world().rank() - 1 + world().size()) % world().size());
  communicator_->barrier();
}

}  // namespace
}  // namespace eigenscale
