// What this build is made of and what it finds on this machine.
#include <zlib.h>

#include <cstdlib>

#include "eigenscale/comm/blas_kernels.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/device_runtime.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/thread_team.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/compress/onnx_export.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/version.h"
#include "eigenscale/data/hdf5_file.h"
#include "eigenscale/linalg/symmetric_eigen.h"
#include "eigenscale/report/program.h"

#include <mpi.h>

namespace {

using namespace eigenscale;

std::string built_with_mpi() {
  const std::string standard =
      "MPI " + std::to_string(MPI_VERSION) + "." + std::to_string(MPI_SUBVERSION);
#ifdef OMPI_MAJOR_VERSION
  return "Open MPI " + std::to_string(OMPI_MAJOR_VERSION) + "." +
         std::to_string(OMPI_MINOR_VERSION) + "." + std::to_string(OMPI_RELEASE_VERSION) + ", " +
         standard;
#else
  return standard;
#endif
}

std::string described_kernels() {
  const auto kernels = blas_kernels();
  return kernels.empty() || std::getenv("OPENBLAS_CORETYPE") == nullptr
             ? kernels
             : kernels + ", by OPENBLAS_CORETYPE";
}

std::string info(const Communicator& world) {
  std::string text = "eigenscale " + version() + "\n";
  const auto line = [&text](const std::string& name, const std::string& value) {
    text += "  " + name + std::string(name.size() < 22 ? 22 - name.size() : 1, ' ') + value + "\n";
  };
  line("build", build_description());
  line("MPI, built with", built_with_mpi());
  line("MPI, running on", Environment::library_version());
  line("libtorch", TORCH_VERSION);
  std::string solvers;
  for (const auto& solver : eigen_solvers()) {
    solvers += (solvers.empty() ? "" : ", ") + solver;
  }
  line("eigensolvers", solvers);
  for (const auto& kernel : elpa_kernels()) {
    line("ELPA kernel", kernel);
  }
  line("HDF5", has_hdf5() ? "parallel" : "not in this build");
  line("zlib", zlibVersion());
  line("ONNX export", has_onnx() ? "yes" : "not in this build");
  auto* runtime = device_runtime();
  line("NCCL", runtime != nullptr ? runtime->nccl_version() : "not in this build");
  const auto devices = cuda_devices();
  for (const auto& device : devices.descriptions) {
    line("CUDA device", device);
  }
  if (devices.descriptions.empty()) {
    line("CUDA devices", devices.problem);
  }
  line("libtorch with CUDA", torch::cuda::is_available() ? "yes" : "no");
  line("ranks", std::to_string(world.size()));
  line("host of rank 0", Environment::host_name());
  line("OpenBLAS kernels", described_kernels());
  line("threads per rank", std::to_string(torch::get_num_threads()));
  line("idle threads", idle_threads().empty() ? "as OpenMP has them" : idle_threads());
  line("OpenMP processors", std::to_string(processors_of_places().size()));
  line("memory available", std::to_string(available_memory_bytes() / 1048576) + " MiB");
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(
      argc, argv,
      {[] { return ProgramOptions("eigenscale-info", "versions, features and devices"); },
       [](const ProgramOptions&) {},
       [](const Communicator& world, const RunOptions& run) {
         print_text(world, run, "info.txt", info(world));
         return ExitCode::kDone;
       }});
}
