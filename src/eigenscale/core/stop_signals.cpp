#include "eigenscale/core/stop_signals.h"

#include <csignal>
#include <initializer_list>

#include "eigenscale/core/clock.h"

namespace eigenscale {
namespace {

volatile std::sig_atomic_t requested = 0;

extern "C" void request_stop(int) { requested = 1; }

}  // namespace

void catch_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART;  // no system call of ours or of MPI ends early
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGUSR1, SIGTERM}) {
    ::sigaction(signal, &action, nullptr);
  }
}

bool stop_requested() { return requested != 0; }

bool stop_is_due(double begin, double limit) {
  return stop_requested() || (limit > 0 && now_seconds() - begin >= limit);
}

}  // namespace eigenscale
