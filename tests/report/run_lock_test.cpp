#include "eigenscale/report/run_lock.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;

/// A directory of this rank alone, and the lock in it.
class RunLockTest : public testing::Test {
 protected:
  RunLockTest() : directory_(shared_.path() / std::to_string(test::world().rank())) {
    fs::create_directory(directory_);
  }

  fs::path lock() const { return directory_ / RunLock::kName; }

  /// A lock file as this process would write it, but for some values.
  void plant(const nlohmann::json& changes) const {
    nlohmann::json content;
    {
      const RunLock own(directory_, "eigenscale-test");
      std::ifstream file(lock());
      content = nlohmann::json::parse(file);
    }
    content.update(changes);
    write_file(lock(), content.dump());
  }

  void set_age(double seconds) const {
    fs::last_write_time(lock(), fs::file_time_type::clock::now() -
                                    std::chrono::milliseconds(static_cast<int>(1000 * seconds)));
  }

  std::string complaint(RunLock::Times times = {}) const {
    try {
      const RunLock own(directory_, "eigenscale-test", times);
    } catch (const OptionError& error) {
      return error.what();
    }
    return "";
  }

  const test::SharedDirectory shared_;
  fs::path directory_;
};

TEST_F(RunLockTest, IsHeldOnceAndReleased) {
  {
    const RunLock own(directory_, "eigenscale-test");
    const auto text = complaint();
    EXPECT_THAT(text, testing::HasSubstr("process " + std::to_string(::getpid())));
    EXPECT_THAT(text, testing::HasSubstr("since 20"));
    EXPECT_THROW(RunLock::refuse_living_holder(directory_), OptionError);
    EXPECT_FALSE(own.lost());
  }
  RunLock::refuse_living_holder(directory_);
  EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(RunLockTest, ADeadHolderStopsNobody) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(0);
  }
  plant({{"process", child}});
  EXPECT_EQ(complaint(), "");  // not yet waited for: a zombie
  ::waitpid(child, nullptr, 0);
  plant({{"process", child}});
  EXPECT_EQ(complaint(), "");
  plant({{"start", "1"}});  // the number was given again
  EXPECT_EQ(complaint(), "");
  EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(RunLockTest, AHolderElsewhereIsJudgedByItsRenewals) {
  plant({{"host", "elsewhere"}, {"process", 17}});
  set_age(100);
  EXPECT_EQ(complaint(), "");  // long silent

  plant({{"host", "elsewhere"}, {"process", 17}});
  std::thread holder([this] {
    for (int i = 0; i < 10; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      fs::last_write_time(lock(), fs::file_time_type::clock::now());
    }
  });
  EXPECT_THAT(complaint(), testing::HasSubstr("process 17 (eigenscale-test) on host elsewhere"));
  holder.join();

  const double begin = now_seconds();  // silent from now on
  EXPECT_EQ(complaint({.heartbeat = 0.2, .stale = 1}), "");
  EXPECT_GE(now_seconds() - begin, 0.5);
}

TEST_F(RunLockTest, AHalfWrittenLockIsNoTrap) {
  write_file(lock(), "");
  set_age(100);
  EXPECT_EQ(complaint(), "");
  write_file(lock(), "{\"host\": 1");
  EXPECT_EQ(complaint({.heartbeat = 0.2, .stale = 0.5}), "");
}

TEST_F(RunLockTest, RenewsItsFile) {
  const RunLock own(directory_, "eigenscale-test", {.heartbeat = 0.05, .stale = 1});
  set_age(100);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(fs::file_time_type::clock::now() - fs::last_write_time(lock()),
            std::chrono::seconds(50));
}

TEST_F(RunLockTest, NoticesThatItWasTaken) {
  const RunLock own(directory_, "eigenscale-test", {.heartbeat = 0.05, .stale = 1});
  write_file(lock(), "another's");
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_TRUE(own.lost());
}

TEST_F(RunLockTest, LeavesAnothersLockWhenItGoes) {
  {
    const RunLock own(directory_, "eigenscale-test");
    write_file(lock(), "another's");
  }
  EXPECT_TRUE(fs::exists(lock()));
}

TEST_F(RunLockTest, OfManyThatComeAtOnceOneGetsIt) {
  plant({{"process", 999999999}});  // a dead one's, that all find
  std::atomic<int> winners = 0;
  std::atomic<int> ready = 0;
  std::atomic<int> done = 0;
  constexpr int kThreads = 8;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      ++ready;
      while (ready < kThreads) {
        std::this_thread::yield();
      }
      try {
        const RunLock own(directory_, "eigenscale-test");
        ++winners;
        ++done;
        while (done < kThreads) {
          std::this_thread::yield();
        }
      } catch (const OptionError&) {
        ++done;
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(winners, 1);
}

TEST_F(RunLockTest, FollowsNoLink) {
  write_file(directory_ / "victim", "precious");
  fs::create_symlink(directory_ / "victim", lock());
  EXPECT_THROW(RunLock(directory_, "eigenscale-test"), OutputError);
  std::ifstream file(directory_ / "victim");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "precious");
}

}  // namespace
}  // namespace eigenscale
