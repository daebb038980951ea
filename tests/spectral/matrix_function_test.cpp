#include "eigenscale/spectral/matrix_function.h"

#include "spectra.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::hard_spectra;
using test::with_eigenvalues;

double largest(const torch::Tensor& values) { return values.abs().max().item<double>(); }

torch::Tensor symmetric_random(std::int64_t n) {
  const auto random = torch::randn({n, n}, torch::kFloat64);
  return (random + random.t()) / 2;
}

torch::Tensor gradient_of(const torch::Tensor& matrix, const SpectralFunction& function,
                          const torch::Tensor& output_gradient) {
  auto leaf = matrix.clone().requires_grad_(true);
  matrix_function(leaf, function).backward(output_gradient);
  return leaf.grad();
}

const std::vector<std::pair<std::string, SpectralFunction>> kSmoothFunctions = {
    {"inverse square root", SpectralFunction::inverse_square_root()},
    {"square root", SpectralFunction::square_root()},
    {"power 0.3", SpectralFunction::power(0.3)},
    {"power -2", SpectralFunction::power(-2)},
    {"logarithm", SpectralFunction::logarithm()},
};

TEST(MatrixFunctionTest, ValuesSatisfyTheirEquations) {
  torch::manual_seed(1);
  for (const std::int64_t n : {1, 2, 3, 16, 64}) {
    for (const auto& [name, values] : hard_spectra(n)) {
      const auto s = with_eigenvalues(values);
      const auto identity = torch::eye(n, torch::kFloat64);
      // Rounding of the eigenvectors, n 2^-52, times the condition 1e6 where an inverse takes part.
      const double bound = 1e-15 * static_cast<double>(n) * 1e7;
      const auto root = matrix_function(s, SpectralFunction::square_root());
      EXPECT_LE(largest(root.matmul(root) - s), bound) << name << n;
      const auto inverse_root = matrix_function(s, SpectralFunction::inverse_square_root());
      EXPECT_LE(largest(inverse_root.matmul(s).matmul(inverse_root) - identity), bound) << name;
      EXPECT_LE(largest(torch::matrix_exp(matrix_function(s, SpectralFunction::logarithm())) - s),
                bound)
          << name << n;
      const auto cube = matrix_function(s, SpectralFunction::power(3));
      EXPECT_LE(largest(cube - s.matmul(s).matmul(s)), bound * largest(cube)) << name;
    }
  }
}

// <dL/dS, E> against (f(S + h E) - f(S - h E)) / 2h.
TEST(MatrixFunctionTest, GradientIsACentralDifference) {
  torch::manual_seed(2);
  for (const std::int64_t n : {1, 2, 3, 16, 64, 257}) {
    for (const auto& [spectrum, values] : hard_spectra(n)) {
      if (spectrum == "condition 1e6") {
        continue;  // a step that resolves the smallest eigenvalue loses the rest to rounding
      }
      for (const auto& [name, function] : kSmoothFunctions) {
        const auto s = with_eigenvalues(values);
        const auto direction = symmetric_random(n) / std::sqrt(static_cast<double>(n));
        const auto weights = symmetric_random(n);
        const double h = 1e-5 * values.min().item<double>();
        const auto at = [&](double step) {
          return (weights * matrix_function(s + step * direction, function)).sum().item<double>();
        };
        // Fourth order, so that truncation (h / l_min)^4 = 1e-20 leaves rounding alone: 2^-52
        // |f| / h against a derivative of about |f| / l.
        const double difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
        const auto gradient = gradient_of(s, function, weights);
        const double expected = (gradient * direction).sum().item<double>();
        const double scale = gradient.norm().item<double>() * direction.norm().item<double>();
        EXPECT_NEAR(difference, expected, 1e-6 * scale) << name << ", " << spectrum << ", " << n;
      }
    }
  }
}

// R = S^(1/2) obeys R dR + dR R = dS, so G = dL/dS solves R G + G R = dL/dR: solved by Kronecker
// products, independently of any divided difference.
TEST(MatrixFunctionTest, GradientOfTheRootSolvesTheSylvesterEquation) {
  torch::manual_seed(3);
  for (const std::int64_t n : {1, 2, 3, 16, 64, 257}) {
    for (const auto& [name, values] : hard_spectra(n)) {
      const auto s = with_eigenvalues(values);
      const auto weights = symmetric_random(n);
      const auto gradient = gradient_of(s, SpectralFunction::square_root(), weights);
      const auto root = matrix_function(s, SpectralFunction::square_root());
      EXPECT_LE(largest(root.matmul(gradient) + gradient.matmul(root) - weights),
                1e-6 * largest(weights))
          << name << n;
      // W = R^-1: dW = -W dR W, so dL/dS of W is the same with -W weights W.
      const auto inverse = matrix_function(s, SpectralFunction::inverse_square_root());
      const auto inner = -inverse.matmul(weights).matmul(inverse);
      const auto inverse_gradient =
          gradient_of(s, SpectralFunction::inverse_square_root(), weights);
      EXPECT_LE(largest(root.matmul(inverse_gradient) + inverse_gradient.matmul(root) - inner),
                1e-6 * largest(inner))
          << name << n;
    }
  }
}

TEST(MatrixFunctionTest, GradientStaysWithinItsBound) {
  torch::manual_seed(4);
  for (const std::int64_t n : {2, 16, 64}) {
    const auto index = torch::arange(n, torch::kFloat64);
    const auto deficient =
        torch::where(index < n / 2, torch::ones_like(index), torch::zeros_like(index)) + 1e-4;
    for (const double sign : {1.0, -1.0}) {
      const auto graded = torch::pow(
          10.0,
          sign * 16 * index / static_cast<double>(std::max<std::int64_t>(n - 1, 1)) - sign * 8);
      for (const auto& values : {deficient, graded}) {
        const auto weights = symmetric_random(n);
        const auto gradient =
            gradient_of(with_eigenvalues(values), SpectralFunction::inverse_square_root(), weights);
        EXPECT_TRUE(gradient.isfinite().all().item<bool>());
        // |F_ij| <= l_min^(-3/2) / 2; the smallest eigenvalue that survives rounding counts.
        const double smallest =
            std::max(values.min().item<double>(),
                     static_cast<double>(n) * 0x1p-52 * values.max().item<double>());
        EXPECT_LE(gradient.norm().item<double>(),
                  (1 + 1e-6) * weights.norm().item<double>() * std::pow(smallest, -1.5) / 2);
      }
    }
  }
}

TEST(MatrixFunctionTest, ProjectorNeedsAGapOnlyAtItsCut) {
  torch::manual_seed(5);
  const std::int64_t n = 12;
  // Equal eigenvalues on both sides of the cut.
  const auto values =
      torch::cat({torch::full({5}, 2.0, torch::kFloat64), torch::full({7}, 0.5, torch::kFloat64)});
  const auto s = with_eigenvalues(values);
  const auto projector = SpectralFunction::projector(5);
  const auto p = matrix_function(s, projector);
  EXPECT_LE(largest(p.matmul(p) - p), 1e-13);
  EXPECT_NEAR(p.trace().item<double>(), 5, 1e-12);
  const auto direction = symmetric_random(n);
  const auto weights = symmetric_random(n);
  const double h = 1e-4;
  const auto at = [&](double step) {
    return (weights * matrix_function(s + step * direction, projector)).sum().item<double>();
  };
  const double difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
  const double expected = (gradient_of(s, projector, weights) * direction).sum().item<double>();
  EXPECT_NEAR(difference, expected,
              1e-8 * direction.norm().item<double>() * weights.norm().item<double>());
  // A cut through equal eigenvalues is arbitrary, but stays finite.
  EXPECT_TRUE(
      gradient_of(s, SpectralFunction::projector(3), weights).isfinite().all().item<bool>());
}

TEST(MatrixFunctionTest, StacksAndSinglePrecision) {
  torch::manual_seed(6);
  const auto one = with_eigenvalues(torch::rand({6}, torch::kFloat64) + 0.1);
  const auto two = with_eigenvalues(torch::rand({6}, torch::kFloat64) + 0.1);
  const auto function = SpectralFunction::inverse_square_root();
  const auto stack = matrix_function(torch::stack({one, two}).to(torch::kFloat32), function);
  EXPECT_EQ(stack.scalar_type(), torch::kFloat32);
  EXPECT_LE(largest(stack[1] - matrix_function(two, function)), 1e-5);
}

}  // namespace
}  // namespace eigenscale
