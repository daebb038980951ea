#include "eigenscale/report/tree_timer.h"

#include "eigenscale/core/clock.h"

namespace eigenscale {

TreeTimer::Scope::Scope(TreeTimer& timer, const std::string& name)
    : timer_(timer), outer_(timer.current_), begin_(now_seconds()) {
  timer_.current_ = outer_.empty() ? name : outer_ + "/" + name;
}

TreeTimer::Scope::~Scope() {
  auto& total = timer_.totals_[timer_.current_];
  total.seconds += now_seconds() - begin_;
  ++total.calls;
  timer_.current_ = outer_;
}

double TreeTimer::seconds(const std::string& path) const {
  const auto found = totals_.find(path);
  return found == totals_.end() ? 0 : found->second.seconds;
}

nlohmann::json TreeTimer::reduce(const Communicator& communicator) const {
  auto names = nlohmann::json::array();
  for (const auto& [path, total] : totals_) {
    names.push_back(path);
  }
  names = nlohmann::json::parse(broadcast(communicator, names.dump(), 0));
  auto result = nlohmann::json::object();
  for (const auto& name : names) {
    const auto path = name.get<std::string>();
    const auto found = totals_.find(path);
    const double own = seconds(path);
    result[path] = {
        {"calls", all_reduce(communicator, found == totals_.end() ? 0 : found->second.calls,
                             ReduceOp::kMax)},
        {"min", all_reduce(communicator, own, ReduceOp::kMin)},
        {"mean", all_reduce(communicator, own) / communicator.size()},
        {"max", all_reduce(communicator, own, ReduceOp::kMax)}};
  }
  return result;
}

}  // namespace eigenscale
