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
  // One message each, not one for every scope.
  const std::int64_t scopes = std::ssize(names);
  auto own = torch::zeros({2, scopes}, torch::kFloat64);
  for (std::int64_t i = 0; i < scopes; ++i) {
    if (const auto found = totals_.find(names[i].get<std::string>()); found != totals_.end()) {
      own[0][i] = found->second.seconds;
      own[1][i] = static_cast<double>(found->second.calls);
    }
  }
  // The smallest is the largest of the negatives.
  const auto largest = torch::cat({own, -own.narrow(0, 0, 1)});
  const auto sum = own[0].clone();
  communicator.all_reduce(largest, ReduceOp::kMax);
  communicator.all_reduce(sum);
  auto result = nlohmann::json::object();
  for (std::int64_t i = 0; i < scopes; ++i) {
    result[names[i].get<std::string>()] = {
        {"calls", static_cast<std::int64_t>(largest[1][i].item<double>())},
        {"min", -largest[2][i].item<double>()},
        {"mean", sum[i].item<double>() / communicator.size()},
        {"max", largest[0][i].item<double>()}};
  }
  return result;
}

}  // namespace eigenscale
