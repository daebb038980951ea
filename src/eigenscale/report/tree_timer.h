#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Where the time of a loop goes: seconds and calls of nested scopes.
///
///   {
///     const auto step = timer.scope("step");
///     const auto backward = timer.scope("backward");   // counts as step/backward
///   }
class TreeTimer {
 public:
  class Scope {
   public:
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    friend class TreeTimer;
    Scope(TreeTimer& timer, const std::string& name);
    TreeTimer& timer_;
    std::string outer_;
    double begin_;
  };

  /// [local] Counts from now to the end of the scope.
  [[nodiscard]] Scope scope(const std::string& name) { return {*this, name}; }

  /// [local] Seconds so far of a scope such as "step/backward".
  double seconds(const std::string& path) const;

  /// [collective] {path: {"calls", "min", "mean", "max"}}, seconds over ranks. Rank 0 says which
  /// scopes there are.
  nlohmann::json reduce(const Communicator& communicator) const;

 private:
  struct Total {
    double seconds = 0;
    std::int64_t calls = 0;
  };
  std::string current_;
  std::map<std::string, Total> totals_;
};

}  // namespace eigenscale
