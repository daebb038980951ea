#include "eigenscale/comm/nccl_communicator.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "eigenscale/comm/device.h"
#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

/// Values on the device, and a stream.
class NcclCommunicatorTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto devices = std::ssize(cuda_devices().descriptions);
    if (devices < world().size()) {
      GTEST_SKIP() << world().size() << " ranks need as many GPUs; there are " << devices;
    }
    ASSERT_EQ(cudaSetDevice(world().rank()), cudaSuccess);
    ASSERT_EQ(cudaStreamCreate(&stream_), cudaSuccess);
  }
  void TearDown() override {
    cudaFree(data_);
    if (stream_ != nullptr) {
      cudaStreamDestroy(stream_);
    }
  }

  void* to_device(const torch::Tensor& values) {
    cudaFree(data_);
    EXPECT_EQ(cudaMalloc(&data_, values.nbytes()), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(data_, values.data_ptr(), values.nbytes(), cudaMemcpyHostToDevice),
              cudaSuccess);
    return data_;
  }
  torch::Tensor from_device(const torch::Tensor& like) {
    auto values = torch::empty_like(like);
    EXPECT_EQ(cudaMemcpy(values.data_ptr(), data_, values.nbytes(), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }

  cudaStream_t stream_ = nullptr;
  void* data_ = nullptr;
};

// Small integers: exact in every type and order of summation.
const std::vector<torch::ScalarType> kNcclTypes = {
    torch::kUInt8, torch::kInt8,    torch::kInt32,   torch::kInt64,
    torch::kHalf,  torch::kFloat32, torch::kFloat64, torch::kBFloat16};

TEST_F(NcclCommunicatorTest, AllReduceIsThatOfMpi) {
  NcclCommunicator communicator(world(), stream_);
  for (const auto type : kNcclTypes) {
    for (const auto op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      const auto values = (torch::arange(1000) % 7 + world().rank()).to(type);
      communicator.all_reduce(to_device(values), values.numel(), type, op);
      communicator.wait();
      auto expected = values.clone();
      world().all_reduce(expected, op);
      EXPECT_TRUE(from_device(values).equal(expected)) << torch::toString(type);
    }
  }
}

TEST_F(NcclCommunicatorTest, BroadcastCopiesTheRoot) {
  NcclCommunicator communicator(world(), stream_);
  const int root = world().size() - 1;
  const auto values = torch::arange(1000, torch::kFloat64) + world().rank();
  communicator.broadcast(to_device(values), values.numel(), torch::kFloat64, root);
  communicator.wait();
  EXPECT_TRUE(from_device(values).equal(torch::arange(1000, torch::kFloat64) + root));
}

TEST_F(NcclCommunicatorTest, CallsOnOneStreamFollowEachOtherAndTheOwnerMayMove) {
  NcclCommunicator first(world(), stream_);
  auto communicator = std::move(first);
  const auto values = torch::ones({5}, torch::kFloat32);
  void* data = to_device(values);
  communicator.all_reduce(data, 5, torch::kFloat32);
  communicator.all_reduce(data, 5, torch::kFloat32);
  communicator.wait();
  EXPECT_TRUE(from_device(values).equal(values * world().size() * world().size()));
}

TEST_F(NcclCommunicatorTest, RefusesTypesThatNcclDoesNotReduce) {
  NcclCommunicator communicator(world(), stream_);
  EXPECT_THROW(communicator.all_reduce(data_, 0, torch::kInt16), std::invalid_argument);
}

TEST(NcclCommunicatorWithoutGpu, SaysOnAllRanksWhatIsMissing) {
  const auto devices = cuda_devices();
  if (!devices.descriptions.empty()) {
    GTEST_SKIP() << "there is a GPU";
  }
  try {
    NcclCommunicator communicator(world(), nullptr);
    FAIL() << "a communicator of NCCL without a GPU";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kOptions);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), testing::HasSubstr("NCCL: no "));
    EXPECT_THAT(error.what(), testing::HasSubstr("GPU"));
  }
}

TEST(NcclVersion, IsThatOfTheLibrary) {
  EXPECT_THAT(nccl_version(), testing::MatchesRegex("[0-9]+[.][0-9]+[.][0-9]+"));
}

}  // namespace
}  // namespace eigenscale
