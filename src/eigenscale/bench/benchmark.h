#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// One way to do the work of a suite at one size. Contenders of a size take turns, so that what
/// disturbs the machine disturbs all alike.
struct Contender {
  std::string name;
  /// [collective] What is timed.
  std::function<void()> work;
  /// [collective] Runs before every turn and is not timed; such a contender is called once a turn.
  std::function<void()> prepare = {};
  /// Floating-point operations of one call, on all ranks together; 0 where none are stated.
  double flop = 0;
  /// Bytes that each rank hands to the collectives in one call; 0 where none are stated.
  double bytes = 0;
  /// The contender of the same size whose rate (of FLOP, or else of bytes) is the most that this
  /// one can reach; none when empty.
  std::string limit = {};
  /// [collective] For --check: the error of a result, the same on all ranks, and what it may be.
  std::function<double()> error = {};
  double bound = 0;
};

/// A family of measurements.
struct Suite {
  using Size = std::vector<std::int64_t>;

  std::string name;
  std::string purpose;
  /// What the numbers of a size such as 1000x64 are.
  std::vector<std::string> dimensions;
  std::vector<Size> sizes;  ///< measured unless others are asked for
  /// [collective] OptionError (agreed) for a size it cannot measure on so many ranks. What the
  /// contenders share lives as long as they do.
  std::function<std::vector<Contender>(const Communicator& world, const Size& size)> contenders;
};

/// [local] All suites, in the order of --help.
const std::vector<Suite>& suites();
/// [local] OptionError, naming those there are, for an unknown name.
const Suite& find_suite(const std::string& name);

/// [local] Products of square matrices on every rank at once, by BLAS: what its cores can do while
/// the other ranks compute, too. "sgemm" (float) or "dgemm".
Contender gemm_limit(const Communicator& world, torch::ScalarType type);

}  // namespace eigenscale
