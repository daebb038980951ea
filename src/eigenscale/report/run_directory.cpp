#include "eigenscale/report/run_directory.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/version.h"

namespace eigenscale {
namespace {

// What a run may leave behind. Overwriting removes these and nothing else.
constexpr const char* kRunFiles[] = {
    "summary.json",     "report.html",       "metrics.jsonl",
    "labels.npy",       "embedding.npy",     "configuration.ini",
    "environment.json", "trace.json",        "pretrained.safetensors",
    "checkpoints",      "model.safetensors", "model.json",
    "model.onnx"};

void prepare(const std::filesystem::path& path, bool overwrite, bool resume) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error)) {
    throw OutputError("--output '" + path.string() + "' is a file; expected a directory");
  }
  if (fs::exists(path / "summary.json", error) && !overwrite && !resume) {
    throw OptionError("'" + path.string() +
                      "' holds a finished run; give another --output or --overwrite");
  }
  if (fs::exists(path / "checkpoints", error) && !overwrite && !resume) {
    throw OptionError("'" + path.string() +
                      "' holds checkpoints of an unfinished run; --resume goes on, --overwrite "
                      "starts again");
  }
  fs::create_directories(path, error);
  if (error) {
    throw OutputError("cannot create the run directory '" + path.string() +
                      "': " + error.message());
  }
  const auto remove = [&](const std::string& name) {
    fs::remove_all(path / name, error);
    if (error) {
      throw OutputError("cannot remove '" + (path / name).string() + "': " + error.message());
    }
  };
  if (resume) {
    remove("summary.json");
  } else {
    std::ranges::for_each(kRunFiles, remove);
  }
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    throw OutputError("the run directory '" + path.string() + "' is not writable");
  }
}

}  // namespace

RunDirectory::RunDirectory(const Communicator& communicator, std::filesystem::path path,
                           bool overwrite, bool resume)
    : communicator_(communicator), path_(std::move(path)) {
  on_all_ranks(
      communicator_,
      [&] {
        if (communicator_.rank() == 0) {
          prepare(path_, overwrite, resume);
        }
      },
      ExitCode::kOutput);
}

void RunDirectory::write(const std::string& name, const std::string& text) const {
  on_all_ranks(
      communicator_,
      [&] {
        if (communicator_.rank() == 0) {
          write_file(file(name), text);
        }
      },
      ExitCode::kOutput);
}

void RunDirectory::write_setting(const std::string& configuration) const {
  write("configuration.ini", configuration);
  const auto ranks = gather_json(communicator_, {{"rank", communicator_.rank()},
                                                 {"host", Environment::host_name()},
                                                 {"threads", torch::get_num_threads()},
                                                 {"process", ::getpid()}});
  const nlohmann::json environment = {{"version", version()},
                                      {"build", build_description()},
                                      {"mpi", Environment::library_version()},
                                      {"ranks", ranks}};
  write("environment.json", environment.dump(2) + "\n");
}

nlohmann::json gather_json(const Communicator& communicator, const nlohmann::json& own) {
  auto all = nlohmann::json::array();
  for (int rank = 0; rank < communicator.size(); ++rank) {
    all.push_back(nlohmann::json::parse(broadcast(communicator, own.dump(), rank)));
  }
  return all;
}

}  // namespace eigenscale
