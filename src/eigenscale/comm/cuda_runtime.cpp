// The real device: the CUDA runtime and NCCL, and libtorch's streams where libtorch has CUDA.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>

#include "eigenscale/comm/device_runtime.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/errors.h"

#ifdef EIGENSCALE_TORCH_HAS_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

static_assert(NCCL_VERSION_CODE >= NCCL_VERSION(2, 14, 0),
              "eigenscale needs NCCL 2.14: communicators that do not block");

namespace eigenscale {
namespace {

void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) {
    throw CommunicationError(std::string(call) + " failed: " + cudaGetErrorString(code));
  }
}

/// A call that goes on in a thread of NCCL is no error: `settled` looks after it.
void check_nccl(ncclResult_t code, ncclComm_t communicator, const char* call) {
  if (code != ncclSuccess && code != ncclInProgress) {
    throw CommunicationError(std::string(call) + " failed: " + ncclGetErrorString(code) + ": " +
                             ncclGetLastError(communicator));
  }
}

std::string driver_text() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "no NVIDIA driver is loaded";
  }
  return "the NVIDIA driver supports CUDA " + std::to_string(driver / 1000) + "." +
         std::to_string(driver % 1000 / 10) + ", this build is made for CUDA " +
         std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
}

DeviceDescription describe(int device) {
  cudaDeviceProp properties{};
  if (const auto code = cudaGetDeviceProperties(&properties, device); code != cudaSuccess) {
    return {cudaGetErrorString(code), ""};
  }
  std::array<char, 32> pci_id{};
  cudaDeviceGetPCIBusId(pci_id.data(), static_cast<int>(pci_id.size()), device);
  return {std::string(properties.name) + ", " + std::to_string(properties.totalGlobalMem >> 30) +
              " GiB, compute capability " + std::to_string(properties.major) + "." +
              std::to_string(properties.minor),
          pci_id.data()};
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

cudaStream_t cuda(DeviceStream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t cuda_event(DeviceEvent event) { return static_cast<cudaEvent_t>(event); }
ncclComm_t nccl(NcclHandle handle) { return static_cast<ncclComm_t>(handle); }

std::size_t elements(const torch::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel());
}

class CudaRuntime final : public DeviceRuntime {
 public:
  std::vector<DeviceDescription> devices(std::string& problem) override {
    int count = 0;
    const auto code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess) {
      problem = "no usable GPU on host " + Environment::host_name() + ": " +
                cudaGetErrorString(code) + " (" + driver_text() + ")";
      return {};
    }
    std::vector<DeviceDescription> result;
    for (int device = 0; device < count; ++device) {
      result.push_back(describe(device));
    }
    problem = count == 0 ? "no GPU on host " + Environment::host_name() : "";
    return result;
  }

#ifdef EIGENSCALE_TORCH_HAS_CUDA
  std::string libtorch_problem() override {
    return torch::cuda::is_available()
               ? ""
               : std::string("libtorch ") + TORCH_VERSION + " finds none that it can use";
  }
  torch::Device tensor_device(int index) override {
    return {torch::kCUDA, static_cast<c10::DeviceIndex>(index)};
  }
  DeviceStream current_stream() override { return c10::cuda::getCurrentCUDAStream().stream(); }
  void keep(const torch::Tensor& tensor, DeviceStream stream) override {
    tensor.record_stream(c10::cuda::getStreamFromExternal(cuda(stream), tensor.device().index()));
  }
#else
  std::string libtorch_problem() override {
    return std::string("libtorch ") + TORCH_VERSION +
           " of this build has no CUDA; build with one that has (CMAKE_PREFIX_PATH)";
  }
  // A libtorch without CUDA has no tensors on devices. Memory of a device may stand behind what
  // it takes for a host's tensor, as tests of NCCL alone have it; no operation may touch it.
  torch::Device tensor_device(int) override { return torch::kCPU; }
  DeviceStream current_stream() override { return nullptr; }
  void keep(const torch::Tensor&, DeviceStream) override {}
#endif

  bool holds(const torch::Tensor& tensor) override { return tensor.is_cuda(); }

  void use_device(int index) override { check_cuda(cudaSetDevice(index), "cudaSetDevice"); }

  std::string nccl_version() override {
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess) {
      return "unknown";
    }
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }

  DeviceStream make_stream() override {
    int least = 0;
    int greatest = 0;
    check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest),
               "cudaDeviceGetStreamPriorityRange");
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest),
               "cudaStreamCreateWithPriority");
    return stream;
  }
  DeviceEvent make_event() override {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
               "cudaEventCreateWithFlags");
    return event;
  }
  void free_stream(DeviceStream stream) noexcept override { cudaStreamDestroy(cuda(stream)); }
  void free_event(DeviceEvent event) noexcept override { cudaEventDestroy(cuda_event(event)); }
  void record(DeviceEvent event, DeviceStream stream) override {
    check_cuda(cudaEventRecord(cuda_event(event), cuda(stream)), "cudaEventRecord");
  }
  void wait(DeviceStream stream, DeviceEvent event) override {
    check_cuda(cudaStreamWaitEvent(cuda(stream), cuda_event(event), 0), "cudaStreamWaitEvent");
  }
  bool done(DeviceEvent event) override {
    const auto code = cudaEventQuery(cuda_event(event));
    if (code == cudaErrorNotReady) {
      return false;
    }
    check_cuda(code, "cudaEventQuery");
    return true;
  }
  void copy(const torch::Tensor& to, const torch::Tensor& from, DeviceStream stream) override {
    check_cuda(cudaMemcpyAsync(to.data_ptr(), from.data_ptr(), from.nbytes(), cudaMemcpyDefault,
                               cuda(stream)),
               "cudaMemcpyAsync");
  }
  void copy_to_host(const torch::Tensor& to, const torch::Tensor& from,
                    DeviceStream stream) override {
    copy(to, from, stream);
  }

  NcclId make_id() override {
    ncclUniqueId id{};
    static_assert(sizeof(NcclId) == sizeof id);
    check_nccl(ncclGetUniqueId(&id), nullptr, "ncclGetUniqueId");
    NcclId result;
    std::memcpy(result.data(), &id, sizeof id);
    return result;
  }
  NcclHandle begin_communicator(const NcclId& id, int rank, int size) override {
    ncclUniqueId native{};
    std::memcpy(&native, id.data(), sizeof native);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t communicator = nullptr;
    check_nccl(ncclCommInitRankConfig(&communicator, size, native, rank, &config), communicator,
               "ncclCommInitRankConfig");
    return communicator;
  }
  bool settled(NcclHandle handle) override {
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(nccl(handle), &state), nccl(handle), "ncclCommGetAsyncError");
    check_nccl(state, nccl(handle), "NCCL");
    return state == ncclSuccess;
  }
  std::string asynchronous_error(NcclHandle handle) override {
    ncclResult_t state = ncclSuccess;
    const auto code = ncclCommGetAsyncError(nccl(handle), &state);
    const auto found = code == ncclSuccess ? state : code;
    return found == ncclSuccess || found == ncclInProgress
               ? ""
               : std::string(ncclGetErrorString(found)) + ": " + ncclGetLastError(nccl(handle));
  }
  void end_communicator(NcclHandle handle) noexcept override {
    ncclResult_t state = ncclCommFinalize(nccl(handle));
    while (state == ncclInProgress) {
      if (ncclCommGetAsyncError(nccl(handle), &state) != ncclSuccess) {
        state = ncclInternalError;
      }
    }
    if (state == ncclSuccess) {
      ncclCommDestroy(nccl(handle));
    } else {
      ncclCommAbort(nccl(handle));
    }
  }
  void abort_communicator(NcclHandle handle) noexcept override { ncclCommAbort(nccl(handle)); }

  void begin_group() override { check_nccl(ncclGroupStart(), nullptr, "ncclGroupStart"); }
  void end_group() override { check_nccl(ncclGroupEnd(), nullptr, "ncclGroupEnd"); }

  void all_reduce(NcclHandle handle, const torch::Tensor& tensor, ReduceOp op,
                  DeviceStream stream) override {
    check_nccl(ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), elements(tensor),
                             nccl_type(tensor.scalar_type()), nccl_operation(op), nccl(handle),
                             cuda(stream)),
               nccl(handle), "ncclAllReduce");
  }
  void reduce(NcclHandle handle, const torch::Tensor& output, const torch::Tensor& input,
              ReduceOp op, int root, DeviceStream stream) override {
    check_nccl(ncclReduce(input.data_ptr(), output.data_ptr(), elements(input),
                          nccl_type(input.scalar_type()), nccl_operation(op), root, nccl(handle),
                          cuda(stream)),
               nccl(handle), "ncclReduce");
  }
  // What only moves goes as bytes: of any type.
  void broadcast(NcclHandle handle, const torch::Tensor& tensor, int root,
                 DeviceStream stream) override {
    check_nccl(ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root,
                             nccl(handle), cuda(stream)),
               nccl(handle), "ncclBroadcast");
  }
  void all_gather(NcclHandle handle, const torch::Tensor& output, const torch::Tensor& input,
                  DeviceStream stream) override {
    check_nccl(ncclAllGather(input.data_ptr(), output.data_ptr(), input.nbytes(), ncclUint8,
                             nccl(handle), cuda(stream)),
               nccl(handle), "ncclAllGather");
  }
  void reduce_scatter(NcclHandle handle, const torch::Tensor& output, const torch::Tensor& input,
                      ReduceOp op, DeviceStream stream) override {
    check_nccl(ncclReduceScatter(input.data_ptr(), output.data_ptr(), elements(output),
                                 nccl_type(input.scalar_type()), nccl_operation(op), nccl(handle),
                                 cuda(stream)),
               nccl(handle), "ncclReduceScatter");
  }
  void send(NcclHandle handle, const torch::Tensor& tensor, int to, DeviceStream stream) override {
    check_nccl(
        ncclSend(tensor.data_ptr(), tensor.nbytes(), ncclUint8, to, nccl(handle), cuda(stream)),
        nccl(handle), "ncclSend");
  }
  void receive(NcclHandle handle, const torch::Tensor& tensor, int from,
               DeviceStream stream) override {
    check_nccl(
        ncclRecv(tensor.data_ptr(), tensor.nbytes(), ncclUint8, from, nccl(handle), cuda(stream)),
        nccl(handle), "ncclRecv");
  }
};

}  // namespace

std::unique_ptr<DeviceRuntime> make_cuda_runtime() { return std::make_unique<CudaRuntime>(); }

}  // namespace eigenscale
