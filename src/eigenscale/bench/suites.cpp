#include "eigenscale/bench/suites.h"

#include <algorithm>
#include <memory>

#include "eigenscale/core/errors.h"

namespace eigenscale {

const std::vector<Suite>& suites() {
  static const std::vector<Suite> all = {
      allreduce_suite(),   eigen_suite(),           gemm_suite(),           whiten_suite(),
      train_step_suite(),  self_expression_suite(), subspaces_suite(),      kmeans_suite(),
      fine_tuning_suite(), convolution_suite(),     whitening_layer_suite()};
  return all;
}

const Suite& find_suite(const std::string& name) {
  const auto found = std::ranges::find(suites(), name, &Suite::name);
  if (found == suites().end()) {
    std::string known;
    for (const auto& suite : suites()) {
      known += (known.empty() ? "" : ", ") + suite.name;
    }
    throw OptionError("--suite is '" + name + "'; expected one of " + known);
  }
  return *found;
}

Contender gemm_limit(const Communicator& world, torch::ScalarType type) {
  constexpr std::int64_t kSize = 768;
  const auto a = std::make_shared<torch::Tensor>(torch::rand({kSize, kSize}, type));
  const auto c = std::make_shared<torch::Tensor>(torch::empty({kSize, kSize}, type));
  return {.name = type == torch::kFloat64 ? "dgemm" : "sgemm",
          .work = [a, c] { torch::mm_out(*c, *a, *a); },
          .flop = 2.0 * kSize * kSize * kSize * world.size()};
}

}  // namespace eigenscale
