#include "eigenscale/comm/nccl_communicator.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/trace.h"

static_assert(NCCL_VERSION_CODE >= NCCL_VERSION(2, 14, 0),
              "eigenscale needs NCCL 2.14: communicators that do not block");

namespace eigenscale {
namespace {

constexpr auto kNcclPause = std::chrono::microseconds(20);

/// The communicators to free at finalise.
std::vector<ncclComm_t>& open_communicators() {
  static std::vector<ncclComm_t> communicators;
  return communicators;
}

void free_communicators() {
  for (const auto communicator : open_communicators()) {
    ncclResult_t state = ncclCommFinalize(communicator);
    while (state == ncclInProgress) {
      std::this_thread::sleep_for(kNcclPause);
      if (ncclCommGetAsyncError(communicator, &state) != ncclSuccess) {
        state = ncclInternalError;
      }
    }
    if (state == ncclSuccess) {
      ncclCommDestroy(communicator);
    } else {
      ncclCommAbort(communicator);
    }
  }
  open_communicators().clear();
}

ncclDataType_t nccl_type(torch::ScalarType type) {
  switch (type) {
    case torch::kUInt8:
      return ncclUint8;
    case torch::kInt8:
      return ncclInt8;
    case torch::kInt32:
      return ncclInt32;
    case torch::kInt64:
      return ncclInt64;
    case torch::kHalf:
      return ncclFloat16;
    case torch::kFloat32:
      return ncclFloat32;
    case torch::kFloat64:
      return ncclFloat64;
    case torch::kBFloat16:
      return ncclBfloat16;
    default:
      throw std::invalid_argument(std::string("NCCL does not reduce elements of type ") +
                                  torch::toString(type));
  }
}

ncclRedOp_t nccl_operation(ReduceOp op) {
  return op == ReduceOp::kSum ? ncclSum : op == ReduceOp::kMax ? ncclMax : ncclMin;
}

/// [collective] Made by rank 0, sent by MPI.
ncclUniqueId common_id(const Communicator& communicator) {
  ncclUniqueId id{};
  on_all_ranks(
      communicator,
      [&] {
        if (const auto devices = cuda_devices(); !devices.problem.empty()) {
          throw OptionError("NCCL: " + devices.problem);
        }
        if (communicator.rank() == 0) {
          if (const auto code = ncclGetUniqueId(&id); code != ncclSuccess) {
            throw CommunicationError(std::string("ncclGetUniqueId: ") + ncclGetErrorString(code) +
                                     ": " + ncclGetLastError(nullptr));
          }
        }
      },
      ExitCode::kCommunication);
  auto bytes = torch::empty({static_cast<std::int64_t>(sizeof id)}, torch::kUInt8);
  std::memcpy(bytes.data_ptr(), &id, sizeof id);
  communicator.broadcast(bytes, 0);
  std::memcpy(&id, bytes.data_ptr(), sizeof id);
  return id;
}

}  // namespace

struct NcclCommunicator::State {
  State(const Communicator& communicator, cudaStream_t on)
      : stream(on), rank(communicator.rank()), size(communicator.size()) {
    auto id = common_id(communicator);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    begin("ncclCommInitRankConfig", 0);
    const auto code = ncclCommInitRankConfig(&handle, size, id, rank, &config);
    if (handle != nullptr) {
      if (open_communicators().empty()) {
        Environment::at_finalize(free_communicators);
      }
      open_communicators().push_back(handle);
    }
    settle(code);
    pending = false;
  }
  ~State() {
    if (pending) {
      log_error("{} was enqueued and never waited for", call);
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void begin(const char* name, std::int64_t size_in_bytes) {
    if (aborted) {
      throw CommunicationError(std::string(name) +
                               " on a communicator of NCCL that was aborted after an error");
    }
    call = name;
    bytes = size_in_bytes;
    pending = true;
  }

  /// Waits until the host's part of a call that returned `code` is done: enqueuing may go on in a
  /// thread of NCCL.
  void settle(ncclResult_t code) {
    const WatchedCall watched(call, bytes);
    while (code == ncclInProgress) {
      std::this_thread::sleep_for(kNcclPause);
      code = asynchronous_state();
    }
    if (code != ncclSuccess) {
      fail(nccl_text(code));
    }
  }

  void wait() {
    const WatchedCall watched(call, bytes);
    while (true) {
      const auto code = cudaStreamQuery(stream);
      if (code == cudaSuccess) {
        break;
      }
      if (code != cudaErrorNotReady) {
        fail(std::string("the stream reports: ") + cudaGetErrorString(code));
      }
      if (const auto state = asynchronous_state();
          state != ncclSuccess && state != ncclInProgress) {
        fail(nccl_text(state));
      }
      std::this_thread::sleep_for(kNcclPause);
    }
    pending = false;
  }

  ncclResult_t asynchronous_state() const {
    ncclResult_t state = ncclSuccess;
    const auto code = ncclCommGetAsyncError(handle, &state);
    return code == ncclSuccess ? state : code;
  }

  std::string nccl_text(ncclResult_t code) const {
    return std::string(ncclGetErrorString(code)) + ": " + ncclGetLastError(handle);
  }

  [[noreturn]] void fail(const std::string& reason) {
    pending = false;
    aborted = true;
    if (handle != nullptr) {
      std::erase(open_communicators(), handle);
      ncclCommAbort(std::exchange(handle, nullptr));
    }
    throw CommunicationError(std::string(call) + " of " + std::to_string(bytes) +
                             " bytes failed on rank " + std::to_string(rank) + " of " +
                             std::to_string(size) + ": " + reason);
  }

  ncclComm_t handle = nullptr;
  cudaStream_t stream;
  int rank;
  int size;
  // The last call, for messages.
  const char* call = "";
  std::int64_t bytes = 0;
  bool pending = false;
  bool aborted = false;
};

namespace {

/// The bytes of a call, counted.
std::int64_t counted_bytes(std::int64_t elements, torch::ScalarType type) {
  if (elements < 0) {
    throw std::invalid_argument("a collective of a negative number of elements");
  }
  const auto bytes = elements * static_cast<std::int64_t>(c10::elementSize(type));
  count("communication.calls", 1);
  count("communication.bytes", bytes);
  return bytes;
}

}  // namespace

NcclCommunicator::NcclCommunicator(const Communicator& communicator, CUstream_st* stream)
    : state_(std::make_unique<State>(communicator, stream)) {}
NcclCommunicator::~NcclCommunicator() = default;
NcclCommunicator::NcclCommunicator(NcclCommunicator&&) noexcept = default;
NcclCommunicator& NcclCommunicator::operator=(NcclCommunicator&&) noexcept = default;

int NcclCommunicator::rank() const { return state_->rank; }
int NcclCommunicator::size() const { return state_->size; }

// NCCL counts elements in size_t: no pieces needed.
void NcclCommunicator::all_reduce(void* data, std::int64_t elements, torch::ScalarType type,
                                  ReduceOp op) {
  const auto native = nccl_type(type);
  const TraceSpan span("ncclAllReduce");
  state_->begin("ncclAllReduce", counted_bytes(elements, type));
  state_->settle(ncclAllReduce(data, data, static_cast<std::size_t>(elements), native,
                               nccl_operation(op), state_->handle, state_->stream));
}

void NcclCommunicator::broadcast(void* data, std::int64_t elements, torch::ScalarType type,
                                 int root) {
  const auto bytes = counted_bytes(elements, type);
  const TraceSpan span("ncclBroadcast");
  state_->begin("ncclBroadcast", bytes);
  state_->settle(ncclBroadcast(data, data, static_cast<std::size_t>(bytes), ncclUint8, root,
                               state_->handle, state_->stream));
}

void NcclCommunicator::wait() {
  const TraceSpan span("NCCL wait");
  state_->wait();
}

std::string nccl_version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) {
    return "unknown";
  }
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace eigenscale
