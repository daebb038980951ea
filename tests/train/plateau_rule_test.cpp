#include "eigenscale/train/plateau_rule.h"

#include <cmath>
#include <functional>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

// The epoch at which the rule fires on `curve`, or 0 within 20,000 epochs.
std::int64_t fires_at(const std::function<double(std::int64_t)>& curve) {
  PlateauRule rule(0.01, 500, 1000);
  for (std::int64_t epoch = 1; epoch <= 20000; ++epoch) {
    if (rule.add(curve(epoch))) {
      return epoch;
    }
  }
  return 0;
}

TEST(PlateauRuleTest, NeverFiresBeforeTheFirstEpoch) {
  EXPECT_EQ(fires_at([](auto) { return 1.0; }), 1000);
}

TEST(PlateauRuleTest, PassesTheEarlyPlateau) {
  // Faces: a fall to the mean image in 10 epochs, a rest of 500, then the long descent.
  const auto faces = [](std::int64_t epoch) {
    const auto t = static_cast<double>(epoch);
    const double start = 139 + 50 * std::exp(-t / 3);
    return epoch < 500 ? start : 15 + 124 * std::exp(-(t - 500) / 800);
  };
  const auto epoch = fires_at(faces);
  // The curve's own improvement over 500 epochs is 1 % when 124 e^-x (e^(500/800) - 1) is 1 % of
  // the value then, 15 + ...: x = 5.0.
  EXPECT_GT(epoch, 3500);
  EXPECT_LT(epoch, 6000);
  EXPECT_LT(faces(epoch), 1.02 * 15);
}

TEST(PlateauRuleTest, JitterNeitherStopsNorDelays) {
  const auto descent = [](std::int64_t epoch) {
    return std::exp(-static_cast<double>(epoch) / 4e3);
  };
  EXPECT_EQ(fires_at([&](auto e) { return descent(e) * (1 + 0.5 * (e % 97 == 0)); }), 0);
  EXPECT_EQ(fires_at([](auto e) { return 1 + 0.5 * (e % 97 == 0); }), 1000);
}

TEST(PlateauRuleTest, FiresExactlyAtTheLimit) {
  // Over any 500 epochs a fall of 1.1 % goes on, one of .9 % does not.
  const auto rate = [](double fraction) {
    return [=](std::int64_t e) { return std::pow(1 - fraction, static_cast<double>(e) / 500); };
  };
  EXPECT_EQ(fires_at(rate(0.011)), 0);
  EXPECT_EQ(fires_at(rate(0.009)), 1000);
}

}  // namespace
}  // namespace eigenscale
