#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace eigenscale {

/// What every program of eigenscale ends with; documented in README and docs/launching.md.
enum class ExitCode : int {
  kDone = 0,
  kOptions = 2,
  kInput = 3,
  kNumerical = 4,
  kCommunication = 5,
  kOutput = 6,
  kStopped = 75,
};

/// Base of all errors eigenscale throws. The message is written for the user: it names the file,
/// offset or option, what was found and what was expected. An error that every rank of the run is
/// known to throw (see comm/agreement.h) is `agreed()`: rank 0 alone prints it and the run ends
/// in order; any other error aborts the run from the rank it happened on.
class Error : public std::runtime_error {
 public:
  Error(ExitCode exit_code, const std::string& message, bool agreed = false)
      : std::runtime_error(message), exit_code_(exit_code), agreed_(agreed) {}

  ExitCode exit_code() const { return exit_code_; }
  bool agreed() const { return agreed_; }

 private:
  ExitCode exit_code_;
  bool agreed_;
};

/// Wrong options or a run that cannot be set up: exit code 2.
struct OptionError : Error {
  explicit OptionError(const std::string& message) : Error(ExitCode::kOptions, message) {}
};

/// A file or a combination of option and data that cannot be used: exit code 3.
struct InputError : Error {
  explicit InputError(const std::string& message) : Error(ExitCode::kInput, message) {}
};

/// Not converged, or a value that is not finite: exit code 4.
struct NumericalError : Error {
  explicit NumericalError(const std::string& message) : Error(ExitCode::kNumerical, message) {}
};

/// A call of the communication library failed or took longer than allowed: exit code 5.
struct CommunicationError : Error {
  explicit CommunicationError(const std::string& message)
      : Error(ExitCode::kCommunication, message) {}
};

/// An output that cannot be written: exit code 6.
struct OutputError : Error {
  explicit OutputError(const std::string& message) : Error(ExitCode::kOutput, message) {}
};

/// Any exception as an Error: its own code, kOptions when memory ran out, else `otherwise`.
/// libtorch has no type for the second before 2.0, only the text.
inline Error as_error(const std::exception& error, ExitCode otherwise) {
  if (const auto* own = dynamic_cast<const Error*>(&error)) {
    return *own;
  }
  const std::string text = error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      text.find("can't allocate memory") != std::string::npos) {
    const auto detail = text.substr(0, text.find('\n'));
    return {ExitCode::kOptions, "out of memory (" + detail + "); use more ranks or nodes"};
  }
  return {otherwise, text};
}

}  // namespace eigenscale
