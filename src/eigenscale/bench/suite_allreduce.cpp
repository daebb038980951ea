#include <mpi.h>

#include "eigenscale/bench/suites.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/mpi_types.h"

namespace eigenscale {
namespace {

/// The largest deviation from the sum of 1 to P after every rank r gave r + 1.
double all_reduce_error(const Communicator& world, const std::function<void(torch::Tensor)>& call,
                        std::int64_t values) {
  const auto tensor = torch::full({values}, world.rank() + 1.0, torch::kFloat32);
  call(tensor);
  const double expected = world.size() * (world.size() + 1) / 2.0;
  return all_reduce(world, (tensor - expected).abs().max().item<double>(), ReduceOp::kMax);
}

std::vector<Contender> allreduce_contenders(const Communicator& world, const Suite::Size& size) {
  const std::int64_t values = std::max<std::int64_t>(1, size[0] / 4);
  const auto zeros = torch::zeros({values});
  const int count = narrow_to_int(values, "count");
  const MPI_Comm handle = mpi_handle(world);
  const auto mpi = [handle, count](const torch::Tensor& tensor) {
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, tensor.data_ptr(), count, MPI_FLOAT, MPI_SUM, handle),
              "MPI_Allreduce");
  };
  const auto mpi_later = [handle, count](const torch::Tensor& tensor) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, tensor.data_ptr(), count, MPI_FLOAT, MPI_SUM, handle,
                             &request),
              "MPI_Iallreduce");
    check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "MPI_Wait");
  };
  const auto ours = [&world](const torch::Tensor& tensor) { world.all_reduce(tensor); };
  const auto ours_later = [&world](const torch::Tensor& tensor) {
    world.start_all_reduce(tensor, ReduceOp::kSum)->wait();
  };
  const auto contender = [&](const std::string& name, const std::string& limit, const auto& call) {
    return Contender{
        .name = name,
        .work = [call, zeros] { call(zeros); },
        .bytes = 4.0 * static_cast<double>(values),
        .limit = limit,
        .error = [&world, call, values] { return all_reduce_error(world, call, values); },
        .bound = 0};
  };
  return {contender("MPI_Allreduce", "", mpi), contender("all_reduce", "MPI_Allreduce", ours),
          contender("MPI_Iallreduce", "", mpi_later),
          contender("start_all_reduce", "MPI_Iallreduce", ours_later)};
}

}  // namespace

Suite allreduce_suite() {
  return {"allreduce",
          "the communicator's sums against MPI's own calls",
          {"bytes"},
          {{4096}, {65536}, {1048576}, {16777216}},
          allreduce_contenders};
}

}  // namespace eigenscale
