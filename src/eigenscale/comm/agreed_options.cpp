#include "eigenscale/comm/agreed_options.h"

#include <iostream>

#include "eigenscale/comm/agreement.h"

namespace eigenscale {

bool read_options(const Communicator& world, ProgramOptions& options, int argc,
                  const char* const* argv) {
  on_all_ranks(
      world, [&] { options.parse(argc, argv); }, ExitCode::kOptions);
  require_same_on_all_ranks(world, "the configuration", options.everything());
  if (options.wants_text() && world.rank() == 0) {
    std::cout << options.text() << std::flush;
  }
  return !options.wants_text();
}

}  // namespace eigenscale
