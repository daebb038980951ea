// A program of somebody else: sums one number over all ranks with the installed library.
#include <cstdint>
#include <iostream>

#include "all_public_headers.h"

int main(int argc, char** argv) {
  return eigenscale::run_program(
      argc, argv, [](const eigenscale::Communicator& world, int, char**) {
        const auto sum = eigenscale::all_reduce(world, std::int64_t{world.rank() + 1});
        if (world.rank() == 0) {
          std::cout << "eigenscale " << eigenscale::version() << ": ranks sum to " << sum
                    << std::endl;
        }
        return 0;
      });
}
