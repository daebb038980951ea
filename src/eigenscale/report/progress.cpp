#include "eigenscale/report/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/number_text.h"

namespace eigenscale {
namespace {

constexpr double kLineEvery = 5;
constexpr double kBarEvery = 0.1;
constexpr int kBarWidth = 24;

}  // namespace

Progress::Mode Progress::parse(const std::string& text) {
  if (text == "auto") {
    return Mode::kAuto;
  }
  if (text == "always") {
    return Mode::kAlways;
  }
  if (text == "never") {
    return Mode::kNever;
  }
  throw OptionError("--progress is '" + text + "'; expected auto, always or never");
}

Progress::Progress(std::string label, std::int64_t steps, Mode mode, bool speaks)
    : label_(std::move(label)),
      steps_(std::max<std::int64_t>(1, steps)),
      speaks_(speaks && mode != Mode::kNever),
      bar_(mode == Mode::kAlways || ::isatty(STDERR_FILENO) == 1),
      start_(now_seconds()),
      last_(start_) {}

void Progress::update(std::int64_t step, const std::string& text) {
  const double now = now_seconds();
  if (first_ < 0) {
    first_ = step;
    start_ = now;
  }
  if (!speaks_ || (now - last_ < (bar_ ? kBarEvery : kLineEvery) && step != steps_)) {
    return;
  }
  last_ = now;
  const double rate = static_cast<double>(step - first_) / std::max(now - start_, 1e-9);
  const double left = static_cast<double>(steps_ - step) / std::max(rate, 1e-9);
  if (bar_) {
    const int done = static_cast<int>(kBarWidth * step / steps_);
    std::fprintf(stderr, "\r\033[K%s [%s%s] %lld/%lld  %.1f/s  %s left  %s", label_.c_str(),
                 std::string(done, '#').c_str(), std::string(kBarWidth - done, '.').c_str(),
                 static_cast<long long>(step), static_cast<long long>(steps_), rate,
                 duration_text(left).c_str(), text.c_str());
  } else {
    std::fprintf(stderr, "%s %lld/%lld  %.1f/s  at most %s left  %s\n", label_.c_str(),
                 static_cast<long long>(step), static_cast<long long>(steps_), rate,
                 duration_text(left).c_str(), text.c_str());
  }
  std::fflush(stderr);
}

void Progress::interrupt() {
  if (speaks_ && bar_ && first_ >= 0) {
    std::fprintf(stderr, "\n");
  }
}

void Progress::finish() {
  interrupt();
  speaks_ = false;
}

}  // namespace eigenscale
