#pragma once

#include <functional>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

/// The MPI library's life: initialised by the constructor with the thread level the communicators
/// need, finalised by the destructor. One per process, made first in main. The only place that
/// names MPI_COMM_WORLD.
class Environment {
 public:
  /// Throws OptionError (agreed) when a launcher started several processes that do not see each
  /// other: N programs of one rank each would otherwise all do the whole job.
  Environment(int& argc, char**& argv);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// All ranks of the job.
  const Communicator& world() const { return *world_; }

  /// [local] `action`, which may be collective, runs once before MPI is finalised; for what
  /// destructors may not do, since freeing a communicator is collective.
  static void at_finalize(std::function<void()> action);

  /// Version of the MPI library the program runs on.
  static std::string library_version();
  static std::string host_name();

 private:
  std::unique_ptr<Communicator> world_;
};

/// What a main returns: chooses OpenBLAS's kernels (comm/blas_kernels.h), runs `program` in an
/// Environment and turns errors into the documented exit codes, those of the Environment itself,
/// too. An agreed error is printed once and
/// all ranks return its code; any other is printed with rank and host, and MPI_Abort ends all ranks
/// with its code.
int run_program(
    int argc, char** argv,
    const std::function<int(const Communicator& world, int argc, char** argv)>& program);

}  // namespace eigenscale
