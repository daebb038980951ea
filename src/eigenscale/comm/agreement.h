#pragma once

#include <functional>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

/// [collective] Runs `work` (which must be local) on every rank. If it throws on any of them, all
/// ranks throw the error of the lowest failing rank, marked as agreed, so that the run ends with
/// one message and in order instead of an abort. Errors that are not eigenscale::Error count as
/// `otherwise`, but for memory that ran out, which is kOptions.
void on_all_ranks(const Communicator& communicator, const std::function<void()>& work,
                  ExitCode otherwise = ExitCode::kInput);

/// [collective] The same with `work` on rank 0 alone: it writes for all. Foreign errors count as
/// kOutput.
void on_first_rank(const Communicator& communicator, const std::function<void()>& work);

/// [collective] Throws OptionError (agreed) unless `text` is the same on all ranks; `what` names
/// it in the message.
void require_same_on_all_ranks(const Communicator& communicator, const std::string& what,
                               const std::string& text);

}  // namespace eigenscale
