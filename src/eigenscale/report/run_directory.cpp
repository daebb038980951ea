#include "eigenscale/report/run_directory.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/blas_kernels.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/gather_texts.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/version.h"
#include "eigenscale/report/run_files.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;

/// Throws when an earlier run would be lost unasked, or the directory cannot become one.
EarlierFiles refuse_to_lose(const fs::path& path, const EarlierRun& earlier,
                            const std::vector<std::string>& outputs) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error)) {
    throw OutputError("--output '" + path.string() + "' is a file; expected a directory");
  }
  auto found = find_earlier_files(path, outputs);
  // There is something to go on with, or an unfinished run to begin again.
  const bool goes_on = earlier.resume && (found.checkpoints || (found.any && !found.finished));
  if (earlier.overwrite || goes_on) {
    return found;
  }
  if (found.finished) {
    throw OptionError("'" + path.string() +
                      "' holds a finished run; give another --output or --overwrite");
  }
  if (found.checkpoints) {
    throw OptionError("'" + path.string() +
                      "' holds checkpoints of an unfinished run; --resume goes on, --overwrite "
                      "starts again");
  }
  // Files that only look like a run's are somebody's.
  auto others = outputs;
  if (found.any) {
    std::erase_if(others, [&](const auto& name) {
      return std::ranges::find(found.of_runs, name) != found.of_runs.end();
    });
  } else {
    others.insert(others.end(), found.of_runs.begin(), found.of_runs.end());
  }
  for (const auto& name : others) {
    if (fs::exists(path / name, error)) {
      throw OptionError("'" + path.string() + "' holds '" + name +
                        "', which a run writes itself; give another --output or --overwrite");
    }
  }
  return found;
}

}  // namespace

RunDirectory::RunDirectory(const Communicator& communicator, fs::path path,
                           const EarlierRun& earlier)
    : communicator_(communicator), path_(std::move(path)), earlier_(earlier) {
  on_first_rank(communicator_, [&] {
    refuse_to_lose(path_, earlier_, {});
    RunLock::refuse_living_holder(path_);
  });
}

void RunDirectory::claim(const std::string& program, const std::string& configuration,
                         const RunFiles& files) {
  {
    // Only time can tell whether a holder on another host lives, and the other ranks wait beside.
    const WatchedCall watched("waiting for the lock of --output", 0, RunLock::Times().stale + 10);
    on_first_rank(communicator_, [&] { prepare(program, files); });
  }
  write_setting(program, configuration, files);
}

void RunDirectory::prepare(const std::string& program, const RunFiles& files) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) {
    throw OutputError("cannot create the run directory '" + path_.string() +
                      "': " + error.message());
  }
  if (::access(path_.c_str(), W_OK | X_OK) != 0) {
    throw OutputError("the run directory '" + path_.string() + "' is not writable");
  }
  lock_ = std::make_unique<RunLock>(path_, program);
  const auto found = refuse_to_lose(path_, earlier_, files.outputs);
  auto all = found.of_runs;
  all.insert(all.end(), files.outputs.begin(), files.outputs.end());
  auto going = earlier_.resume ? std::vector<std::string>{"summary.json"} : all;
  // What says that the others are a run's goes last: whoever is killed here leaves none of them
  // without it.
  std::ranges::stable_partition(going, [](const auto& name) {
    return name != "environment.json" && name != "configuration.ini";
  });
  for (const auto& name : going) {
    for (const auto& input : files.inputs) {
      if (reads(input, path_ / name)) {
        throw OptionError("'" + input +
                          "' is read and lies in --output, where a run writes its own '" + name +
                          "'; copy it elsewhere or give another --output");
      }
    }
  }
  for (const auto& name : going) {
    fs::remove_all(path_ / name, error);
    if (error) {
      throw OutputError("cannot remove '" + (path_ / name).string() + "': " + error.message());
    }
  }
  for (const auto& name : all) {
    remove_temporaries(path_ / name);
  }
}

void RunDirectory::require_lock() const {
  on_first_rank(communicator_, [&] {
    if (lock_ && lock_->lost()) {
      throw OutputError("the lock of '" + path_.string() +
                        "' is gone: another run took the directory while this one stood still");
    }
  });
}

void RunDirectory::write(const std::string& name, const std::string& text) const {
  require_lock();
  on_first_rank(communicator_, [&] { write_file(file(name), text); });
}

void RunDirectory::write_setting(const std::string& program, const std::string& configuration,
                                 const RunFiles& files) const {
  write("configuration.ini", configuration);
  const auto ranks = gather_json(communicator_, {{"rank", communicator_.rank()},
                                                 {"host", Environment::host_name()},
                                                 {"threads", torch::get_num_threads()},
                                                 {"idle_threads", idle_threads()},
                                                 {"blas_kernels", blas_kernels()},
                                                 {"process", ::getpid()}});
  const nlohmann::json environment = {
      {"program", program},           {"version", version()},
      {"build", build_description()}, {"mpi", Environment::library_version()},
      {"outputs", files.outputs},     {"ranks", ranks}};
  write("environment.json", environment.dump(2) + "\n");
}

nlohmann::json gather_json(const Communicator& communicator, const nlohmann::json& own) {
  nlohmann::json all;
  for (const auto& text : gather_texts(communicator, own.dump())) {
    all.push_back(nlohmann::json::parse(text));
  }
  return all;
}

}  // namespace eigenscale
