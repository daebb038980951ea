#include "eigenscale/report/run_lock_holder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "eigenscale/comm/environment.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;

double seconds_of(const timespec& time) {
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Processes are numbered anew in every start of a machine and in every container.
std::string numbering() {
  std::error_code none;
  return first_line("/proc/sys/kernel/random/boot_id") + " " +
         fs::read_symlink("/proc/self/ns/pid", none).string();
}

/// State and start of a process, as in "S 4711"; empty where the system does not tell. A number is
/// given again, but not with the same start.
std::string state_and_start(std::int64_t process) {
  const auto line = first_line(("/proc/" + std::to_string(process) + "/stat").c_str());
  const auto behind_name = line.rfind(')');
  if (behind_name == std::string::npos) {
    return "";
  }
  std::istringstream fields(line.substr(behind_name + 1));
  std::string state;
  std::string field;
  fields >> state;
  constexpr int kStart = 22;  // of proc(5); the state is field 3
  for (int number = 4; number <= kStart; ++number) {
    fields >> field;
  }
  return state + " " + field;
}

std::string start_of(const std::string& state_and_start) {
  return state_and_start.size() > 2 ? state_and_start.substr(2) : "";
}

}  // namespace

std::optional<RunLockHolder> RunLockHolder::read(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0 && errno == ENOENT) {
    return {};
  }
  RunLockHolder holder;
  std::array<char, 4096> buffer{};
  struct stat status = {};
  const ssize_t bytes = descriptor < 0 ? -1 : ::read(descriptor, buffer.data(), buffer.size());
  const bool known = bytes >= 0 && ::fstat(descriptor, &status) == 0;
  const int error = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
  }
  if (!known) {
    throw OutputError("cannot read the lock '" + path.string() + "': " + std::strerror(error));
  }
  holder.text.assign(buffer.data(), bytes);
  holder.renewed = seconds_of(status.st_mtim);
  return holder;
}

std::string RunLockHolder::describe_self(const std::string& program) {
  std::array<char, 32> now{};
  const std::time_t seconds = std::time(nullptr);
  std::tm parts = {};
  ::gmtime_r(&seconds, &parts);
  std::strftime(now.data(), now.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  const auto process = static_cast<std::int64_t>(::getpid());
  return nlohmann::json{{"host", Environment::host_name()},
                        {"numbering", numbering()},
                        {"process", process},
                        {"start", start_of(state_and_start(process))},
                        {"program", program},
                        {"since", now.data()},
                        {"token", unique_token()}}
             .dump() +
         "\n";
}

RunLockHolder::State RunLockHolder::state() const {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("host", "") != Environment::host_name() ||
      json.value("numbering", "") != numbering()) {
    return State::kUnknown;
  }
  const auto process = json.value("process", std::int64_t{0});
  if (process <= 0 || (::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH)) {
    return State::kDead;
  }
  const auto found = state_and_start(process);
  if (found.empty()) {
    return State::kUnknown;
  }
  const bool gone = found.front() == 'Z' || found.front() == 'X';
  return gone || start_of(found) != json.value("start", "") ? State::kDead : State::kAlive;
}

std::string RunLockHolder::in_words() const {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return "a process that has not said which";
  }
  return "process " + std::to_string(json.value("process", std::int64_t{0})) + " (" +
         json.value("program", "?") + ") on host " + json.value("host", "?") + ", since " +
         json.value("since", "?");
}

double file_system_seconds(const fs::path& directory) {
  const auto path = temporary_name(directory / "clock", unique_token());
  const int descriptor = create_temporary(path, directory / "clock");
  struct stat status = {};
  const bool known = ::fstat(descriptor, &status) == 0;
  ::close(descriptor);
  ::unlink(path.c_str());
  return known ? seconds_of(status.st_mtim) : static_cast<double>(std::time(nullptr));
}

}  // namespace eigenscale
