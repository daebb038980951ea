#include "eigenscale/bench/bench_run.h"

#include <torch/version.h>

#include <algorithm>
#include <iostream>

#include "eigenscale/bench/commit.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/version.h"

namespace eigenscale {
namespace {

std::string size_text(const Suite::Size& size) { return joined(size, "x"); }

/// all_reduce of 4096: 4.91 us (4.80 to 5.20), 0.83 GB/s, 0.95 of MPI_Allreduce
std::string line_for_people(const Suite::Size& size, const std::vector<Contender>& contenders,
                            const std::vector<Measurement>& measurements, std::size_t which) {
  const auto& contender = contenders[which];
  const auto& seconds = measurements[which].seconds;
  const auto [least, most] = std::ranges::minmax(seconds);
  auto text = format_text("{:<28} {:>14} {:>10.4g} ms ({:.4g} to {:.4g})", contender.name,
                          size_text(size), 1e3 * median(seconds), 1e3 * least, 1e3 * most);
  if (contender.flop > 0 || contender.bytes > 0) {
    text += format_text(", {:.3g} {}", 1e-9 * rate(contender, median(seconds)),
                        contender.flop > 0 ? "GFLOP/s" : "GB/s");
  }
  std::vector<double> fractions;
  for (std::size_t turn = 0; turn < seconds.size(); ++turn) {
    if (const auto fraction = fraction_of_limit(contenders, measurements, which, turn)) {
      fractions.push_back(*fraction);
    }
  }
  if (!fractions.empty()) {
    text += format_text(", {:.2f} of {}", median(fractions), contender.limit);
  }
  if (measurements[which].error) {
    text += format_text(", error {:.1e}", *measurements[which].error);
  }
  return text;
}

}  // namespace

nlohmann::json bench_frame(const Communicator& world, const std::string& suite) {
  return {{"schema_version", 1},
          {"program", "eigenscale-bench"},
          {"version", version()},
          {"commit", commit()},
          {"host", Environment::host_name()},
          {"build", build_description()},
          {"mpi", Environment::library_version()},
          {"libtorch", TORCH_VERSION},
          {"ranks", world.size()},
          {"threads", torch::get_num_threads()},
          {"suite", suite}};
}

std::vector<nlohmann::json> bench_lines(const nlohmann::json& frame, const Suite& suite,
                                        const Suite::Size& size,
                                        const std::vector<Contender>& contenders,
                                        const std::vector<Measurement>& measurements) {
  std::vector<nlohmann::json> lines;
  for (std::size_t which = 0; which < contenders.size(); ++which) {
    const auto& contender = contenders[which];
    const auto& measured = measurements[which];
    for (std::size_t turn = 0; turn < measured.seconds.size(); ++turn) {
      auto line = frame;
      line["contender"] = contender.name;
      for (std::size_t i = 0; i < size.size(); ++i) {
        line["size"][suite.dimensions[i]] = size[i];
      }
      line["repeat"] = turn;
      line["calls"] = measured.calls;
      line["seconds"] = measured.seconds[turn];
      line["flop"] = contender.flop;
      line["bytes"] = contender.bytes;
      if (const auto fraction = fraction_of_limit(contenders, measurements, which, turn)) {
        line["limit"] = {{"contender", contender.limit},
                         {"unit", contender.flop > 0 ? "FLOP/s" : "B/s"},
                         {"rate", rate(contender, measured.seconds[turn]) / *fraction}};
        line["fraction"] = *fraction;
      }
      if (measured.error) {
        line["check"] = {{"error", *measured.error}, {"bound", contender.bound}};
      }
      lines.push_back(std::move(line));
    }
  }
  return lines;
}

std::vector<nlohmann::json> run_bench(const Communicator& world, const BenchOptions& options,
                                      nlohmann::json& seconds) {
  const Suite& suite = find_suite(options.suite);
  const auto frame = bench_frame(world, suite.name);
  std::vector<nlohmann::json> all;
  for (const auto& size : options.sizes) {
    const auto contenders = suite.contenders(world, size);
    const auto measurements = measure(world, contenders, options);
    for (std::size_t which = 0; which < contenders.size(); ++which) {
      seconds[contenders[which].name + " " + size_text(size)] = median(measurements[which].seconds);
    }
    if (world.rank() != 0) {
      continue;
    }
    for (auto& line : bench_lines(frame, suite, size, contenders, measurements)) {
      std::cout << line.dump() << "\n";
      all.push_back(std::move(line));
    }
    std::cout << std::flush;
    for (std::size_t which = 0; which < contenders.size(); ++which) {
      std::cerr << line_for_people(size, contenders, measurements, which) << std::endl;
    }
  }
  return all;
}

}  // namespace eigenscale
