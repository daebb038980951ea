#include "eigenscale/comm/agreement.h"

#include <cstdint>
#include <optional>

namespace eigenscale {

void on_all_ranks(const Communicator& communicator, const std::function<void()>& work,
                  ExitCode otherwise) {
  std::optional<Error> failure;
  try {
    work();
  } catch (const std::exception& error) {
    failure = as_error(error, otherwise);
  }
  const std::int64_t nobody = communicator.size();
  const std::int64_t first = all_reduce(
      communicator, failure ? std::int64_t{communicator.rank()} : nobody, ReduceOp::kMin);
  if (first == nobody) {
    return;
  }
  const int root = static_cast<int>(first);
  const std::string message = broadcast(communicator, failure ? failure->what() : "", root);
  const std::int64_t code =
      all_reduce(communicator,
                 communicator.rank() == root ? static_cast<std::int64_t>(failure->exit_code()) : 0,
                 ReduceOp::kMax);
  throw Error(static_cast<ExitCode>(code), message, true);
}

void on_first_rank(const Communicator& communicator, const std::function<void()>& work) {
  on_all_ranks(
      communicator,
      [&] {
        if (communicator.rank() == 0) {
          work();
        }
      },
      ExitCode::kOutput);
}

void require_same_on_all_ranks(const Communicator& communicator, const std::string& what,
                               const std::string& text) {
  const std::string reference = broadcast(communicator, text, 0);
  on_all_ranks(communicator, [&] {
    if (text != reference) {
      throw OptionError(what + " differs between ranks: rank " +
                        std::to_string(communicator.rank()) + " has\n" + text +
                        "\nand rank 0 has\n" + reference);
    }
  });
}

}  // namespace eigenscale
