#pragma once

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/options.h"

namespace eigenscale {

/// [collective] Reads the options of a program on every rank; errors are agreed, and options
/// that differ between ranks are one (OptionError). When --help or
/// --version was given, rank 0 prints the text and the result is false: nothing else is to be done.
bool read_options(const Communicator& world, ProgramOptions& options, int argc,
                  const char* const* argv);

}  // namespace eigenscale
