#include "eigenscale/train/plateau_rule.h"

#include <algorithm>

namespace eigenscale {

PlateauRule::PlateauRule(double minimum_improvement, std::int64_t window, std::int64_t first_epoch)
    : minimum_improvement_(minimum_improvement), window_(window), first_epoch_(first_epoch) {}

bool PlateauRule::add(double value) {
  ++epochs_;
  best_.push_back(best_.empty() ? value : std::min(value, best_.back()));
  if (static_cast<std::int64_t>(best_.size()) <= window_) {
    return false;
  }
  const double earlier = best_.front();
  best_.pop_front();
  return epochs_ >= first_epoch_ && earlier - best_.back() <= minimum_improvement_ * earlier;
}

}  // namespace eigenscale
