#include "eigenscale/train/gradient_reducer.h"

#include <array>
#include <limits>

#include "eigenscale/core/row_partition.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

/// Layers of very different sizes with everything that makes reducing hard: `shared` is used twice,
/// `unused` never, `frozen` does not train.
struct Model {
  explicit Model(torch::ScalarType type) {
    torch::manual_seed(11);
    const auto random = [&](std::vector<std::int64_t> shape) {
      return (torch::randn(shape, torch::kFloat64) * 0.2).to(type).requires_grad_();
    };
    first = random({40, 24});
    unused = random({33});
    shared = random({40, 40});
    bias = random({40});
    frozen = random({40, 40}).detach();
    last = random({3, 40});
  }
  torch::Tensor forward(const torch::Tensor& x) const {
    auto y = x.matmul(first.t()).tanh();
    y = (y.matmul(shared.t()) + bias).tanh();
    y = y.matmul(frozen.t()).tanh().matmul(shared.t());
    return y.matmul(last.t());
  }
  std::vector<torch::Tensor> all() const {
    return {first, unused, shared, bias, frozen, last, shared};
  }
  torch::Tensor first, unused, shared, bias, frozen, last;
};

// 5 rows: ranks of four own 2, 2, 1, 0, so one of them never runs a backward pass.
struct Rows {
  explicit Rows(torch::ScalarType type) {
    torch::manual_seed(12);
    all = torch::rand({5, 24}, torch::kFloat64).to(type);
    const auto range = RowPartition(5, test::world().size()).range(test::world().rank());
    own = all.narrow(0, range.begin, range.size());
  }
  torch::Tensor all;
  torch::Tensor own;
};

torch::Tensor loss_of(const Model& model, const torch::Tensor& rows) {
  return model.forward(rows).square().sum();
}

torch::Tensor flat_gradients(const Model& model) {
  std::vector<torch::Tensor> pieces;
  for (const auto& parameter : trainable(model.all())) {
    pieces.push_back((parameter.grad().defined() ? parameter.grad() : torch::zeros_like(parameter))
                         .detach()
                         .flatten());
  }
  return torch::cat(pieces);
}

torch::Tensor one_rank(torch::ScalarType type) {
  Model model(type);
  loss_of(model, Rows(type).all).backward();
  return flat_gradients(model);
}

enum class How { kArmed, kUnarmed, kAccumulated };

torch::Tensor many_ranks(torch::ScalarType type, const GradientReducerOptions& options, How how,
                         int steps = 1) {
  Model model(type);
  const Rows rows(type);
  GradientReducer reducer(test::world(), model.all(), options);
  for (int step = 0; step < steps; ++step) {
    for (const auto& parameter : reducer.parameters()) {
      torch::Tensor(parameter).mutable_grad() = torch::Tensor();
    }
    // Accumulated: one row a pass, the last one armed.
    const std::int64_t piece = how == How::kAccumulated ? 1 : 5;
    for (std::int64_t first = 0; first < rows.own.size(0); first += piece) {
      const auto size = std::min(piece, rows.own.size(0) - first);
      const auto loss = loss_of(model, rows.own.narrow(0, first, size));
      if (how != How::kUnarmed && first + size == rows.own.size(0)) {
        reducer.arm();
      }
      loss.backward();
    }
    if (how != How::kUnarmed && rows.own.size(0) == 0) {
      reducer.arm();
    }
    reducer.reduce();
  }
  return flat_gradients(model);
}

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
}

constexpr std::int64_t kKiB = 1024;
constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

GradientReducerOptions bucket(std::int64_t bytes) {
  return {.first_bucket_bytes = bytes, .bucket_bytes = bytes};
}

// Sums of at most 5 x 40 terms in another order: some 1e3 roundings of 1e-16 and 6e-8 at worst.
TEST(GradientReducerTest, EqualsOneRankHoweverTheGradientsCome) {
  for (const auto& [type, tolerance] :
       {std::pair(torch::kFloat64, 1e-12), std::pair(torch::kFloat32, 1e-5)}) {
    const auto expected = one_rank(type);
    for (const auto how : {How::kArmed, How::kUnarmed, How::kAccumulated}) {
      for (const auto bytes : {kKiB, kKiB * kKiB, kUnlimited}) {
        for (const int steps : {1, 3}) {  // the second has the order of readiness
          EXPECT_LE(largest_difference(many_ranks(type, bucket(bytes), how, steps), expected),
                    tolerance);
        }
      }
    }
  }
}

TEST(GradientReducerTest, DeterministicSumsDoNotDependOnBuckets) {
  auto options = bucket(kKiB);
  options.deterministic = true;
  const auto reference = many_ranks(torch::kFloat32, options, How::kArmed, 2);
  EXPECT_LE(largest_difference(reference, one_rank(torch::kFloat32)), 1e-5);
  for (const auto bytes : {kKiB * kKiB, kUnlimited}) {
    options.first_bucket_bytes = options.bucket_bytes = bytes;
    EXPECT_TRUE(torch::equal(many_ranks(torch::kFloat32, options, How::kArmed, 2), reference));
  }
}

// a + b is b + a: on two ranks no order of summation exists that could differ.
TEST(GradientReducerTest, TwoRanksAreExactForAnyBuckets) {
  const auto reference = many_ranks(torch::kFloat32, bucket(kKiB), How::kArmed, 2);
  for (const auto bytes : {kKiB * kKiB, kUnlimited}) {
    const auto other = many_ranks(torch::kFloat32, bucket(bytes), How::kArmed, 2);
    if (test::world().size() <= 2) {
      EXPECT_TRUE(torch::equal(other, reference));
    } else {
      EXPECT_LE(largest_difference(other, reference), 1e-6);
    }
  }
}

TEST(GradientReducerTest, AThreadMayDriveTheMessages) {
  auto options = bucket(kKiB);
  options.progress_thread = true;
  EXPECT_LE(largest_difference(many_ranks(torch::kFloat64, options, How::kArmed, 20),
                               one_rank(torch::kFloat64)),
            1e-12);
}

TEST(GradientReducerTest, Bfloat16OnTheWireRoundsToEightBits) {
  auto options = bucket(kKiB);
  options.wire_type = torch::kBFloat16;
  const auto difference = largest_difference(many_ranks(torch::kFloat32, options, How::kArmed),
                                             one_rank(torch::kFloat32));
  // 2^-9 for each rounding: one a rank and one a sum, relative to the largest gradient.
  EXPECT_LE(difference, 2.0 * test::world().size() / 512);
  if (test::world().size() > 1) {
    EXPECT_GT(difference, 0);
  }
}

// Ranks without rows neither arm nor run a pass, and must hear of the order all the same.
TEST(GradientReducerTest, BucketsFollowTheOrderOfReadinessOnAllRanks) {
  Model model(torch::kFloat64);
  const Rows rows(torch::kFloat64);
  // Two rows: all ranks but the first two have none.
  const auto range = RowPartition(2, test::world().size()).range(test::world().rank());
  GradientReducer reducer(test::world(), {model.last, model.first, model.bias, model.shared},
                          bucket(kKiB));
  EXPECT_EQ(reducer.order(), (std::vector<std::int64_t>{3, 2, 1, 0}));
  // Nobody is armed: no order yet.
  reducer.reduce();
  EXPECT_FALSE(reducer.order_is_final());
  // Rank 0 is not, as if it had no rows.
  const bool first_idles = test::world().size() > 1;
  if (range.size() > 0 && !(first_idles && test::world().rank() == 0)) {
    reducer.arm();
    loss_of(model, rows.all.narrow(0, range.begin, range.size())).backward();
  }
  reducer.reduce();
  if (test::world().size() > 1) {
    // The last layer first; shared, whose second use is the earlier layer, after the bias.
    EXPECT_TRUE(reducer.order_is_final());
    EXPECT_EQ(reducer.order(), (std::vector<std::int64_t>{0, 2, 3, 1}));
    EXPECT_EQ(reducer.buckets(), 4U);
  }
  reducer.set_order({0, 1, 2, 3}, true);
  EXPECT_EQ(reducer.order()[0], 0);
  EXPECT_ANY_THROW(reducer.set_order({0, 0, 2, 3}, true));
}

TEST(GradientReducerTest, RefusesASecondPassAfterArming) {
  if (test::world().size() == 1) {
    GTEST_SKIP() << "one rank reduces nothing";
  }
  Model model(torch::kFloat64);
  const Rows rows(torch::kFloat64);
  GradientReducer reducer(test::world(), model.all());
  reducer.arm();
  const auto backward = [&] { loss_of(model, rows.all).backward(); };
  backward();
  EXPECT_THROW(backward(), std::exception);
  reducer.reduce();
}

TEST(GradientReducerTest, NormAndScaleAreThoseOfAllGradients) {
  Model model(torch::kFloat64);
  const Rows rows(torch::kFloat64);
  GradientReducer reducer(test::world(), model.all());
  if (rows.own.size(0) > 0) {
    loss_of(model, rows.own).backward();
  }
  reducer.reduce();
  const double norm = one_rank(torch::kFloat64).norm().item<double>();
  EXPECT_NEAR(reducer.gradient_norm(), norm, 1e-12 * norm);
  reducer.scale_gradients(0.5);
  EXPECT_NEAR(reducer.gradient_norm(), 0.5 * norm, 1e-12 * norm);
}

TEST(GradientReducerTest, ScalarsKeepTheirDigitsBesideFloats) {
  const auto parameter = torch::zeros({3}).requires_grad_();
  GradientReducer reducer(test::world(), {parameter});
  std::array<double, 1> scalars = {1 + 1e-12};
  reducer.reduce(scalars);
  EXPECT_NEAR(scalars[0], test::world().size() * (1 + 1e-12), 1e-15 * test::world().size());
  EXPECT_TRUE(torch::equal(parameter.grad(), torch::zeros({3})));
}

}  // namespace
}  // namespace eigenscale
