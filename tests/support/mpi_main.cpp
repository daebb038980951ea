// GoogleTest under MPI: every rank runs every case in the same order; the run fails when any rank
// fails. Rank 0 prints everything, other ranks only their failures.
#include <unistd.h>

#include <iostream>

#include "eigenscale/comm/environment.h"
#include "support/keep_plugins.h"
#include "support/mpi_test.h"

namespace eigenscale::test {
namespace {

const Communicator* current_world = nullptr;

class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed()) {
      std::cerr << "[rank " << world().rank() << "] " << result.file_name() << ":"
                << result.line_number() << ": " << result.message() << std::endl;
    }
  }
};

}  // namespace

const Communicator& world() { return *current_world; }

SharedDirectory::SharedDirectory() {
  std::string name;
  if (world().rank() == 0) {
    auto pattern = (std::filesystem::temp_directory_path() / "eigenscale-test-XXXXXX").string();
    name = ::mkdtemp(pattern.data());
  }
  path_ = broadcast(world(), name, 0);
}

SharedDirectory::~SharedDirectory() {
  world().barrier();  // other ranks may still be reading
  if (world().rank() == 0) {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
}

}  // namespace eigenscale::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  // A rank that went on with its next test would meet the others in the wrong collective and hang:
  // an exception ends the run, on all ranks.
  GTEST_FLAG_SET(catch_exceptions, false);
  return eigenscale::run_program(
      argc, argv, [](const eigenscale::Communicator& world, int, char**) {
        eigenscale::test::current_world = &world;
        if (world.rank() != 0) {
          auto& listeners = testing::UnitTest::GetInstance()->listeners();
          delete listeners.Release(listeners.default_result_printer());
          listeners.Append(new eigenscale::test::FailurePrinter);
        }
        torch::set_num_threads(1);
        const int failed = RUN_ALL_TESTS();
        const auto* unit_test = testing::UnitTest::GetInstance();
        if (world.rank() == 0 && unit_test->test_to_run_count() > 0 &&
            unit_test->skipped_test_count() == unit_test->test_to_run_count()) {
          std::cout << "ALL TESTS SKIPPED" << std::endl;
        }
        return eigenscale::all_reduce(world, std::int64_t{failed}, eigenscale::ReduceOp::kMax) == 0
                   ? 0
                   : 1;
      });
}
