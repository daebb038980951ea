#include "eigenscale/report/run_directory.h"

#include <unistd.h>

#include <iterator>
#include <system_error>
#include <utility>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/version.h"

namespace eigenscale {
namespace {

// What a run may leave behind. Overwriting removes these and nothing else.
constexpr const char* kRunFiles[] = {
    "summary.json",  "report.html",       "metrics.jsonl",    "labels.npy",
    "embedding.npy", "environment.json",  "trace.json",       "pretrained.safetensors",
    "checkpoints",   "model.safetensors", "model.json",       "model.onnx",
    "whitened.npy",  "whitened.h5",       "transform.npy",    "transform.h5",
    "mean.npy",      "eigenvalues.npy",   "configuration.ini"};

namespace fs = std::filesystem;

/// True when `input`, a path or a path with :dataset behind, is `file`.
bool reads(const std::string& input, const fs::path& file) {
  std::error_code ignored;
  return fs::equivalent(input, file, ignored) ||
         fs::equivalent(input.substr(0, input.rfind(':')), file, ignored);
}

/// Throws when an earlier run, or files that only look like one's, would be lost unasked.
void refuse_to_lose(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path / "summary.json", error)) {
    throw OptionError("'" + path.string() +
                      "' holds a finished run; give another --output or --overwrite");
  }
  if (fs::exists(path / "checkpoints", error)) {
    throw OptionError("'" + path.string() +
                      "' holds checkpoints of an unfinished run; --resume goes on, --overwrite "
                      "starts again");
  }
  if (fs::exists(path / "configuration.ini", error)) {
    return;  // of a run that ended early
  }
  for (const char* name : kRunFiles) {
    if (fs::exists(path / name, error)) {
      throw OptionError("'" + path.string() + "' holds '" + name +
                        "', which a run writes itself; give another --output or --overwrite");
    }
  }
}

void prepare(const fs::path& path, const EarlierRun& earlier) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error)) {
    throw OutputError("--output '" + path.string() + "' is a file; expected a directory");
  }
  if (!earlier.overwrite && !earlier.resume) {
    refuse_to_lose(path);
  }
  fs::create_directories(path, error);
  if (error) {
    throw OutputError("cannot create the run directory '" + path.string() +
                      "': " + error.message());
  }
  std::vector<std::string> going = {"summary.json"};
  if (!earlier.resume) {
    going.assign(std::begin(kRunFiles), std::end(kRunFiles));
  }
  for (const auto& name : going) {
    for (const auto& input : earlier.inputs) {
      if (reads(input, path / name)) {
        throw OptionError("'" + input +
                          "' is read and lies in --output, where a run writes its own '" + name +
                          "'; copy it elsewhere or give another --output");
      }
    }
  }
  for (const auto& name : going) {
    fs::remove_all(path / name, error);
    if (error) {
      throw OutputError("cannot remove '" + (path / name).string() + "': " + error.message());
    }
  }
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    throw OutputError("the run directory '" + path.string() + "' is not writable");
  }
}

}  // namespace

RunDirectory::RunDirectory(const Communicator& communicator, std::filesystem::path path,
                           const EarlierRun& earlier)
    : communicator_(communicator), path_(std::move(path)) {
  on_first_rank(communicator_, [&] { prepare(path_, earlier); });
}

void RunDirectory::write(const std::string& name, const std::string& text) const {
  on_first_rank(communicator_, [&] { write_file(file(name), text); });
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
