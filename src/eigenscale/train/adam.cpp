#include "eigenscale/train/adam.h"

#include <cmath>

namespace eigenscale {
namespace {

/// The learning rate with what makes up for moments that began at zero.
double corrected_rate(std::int64_t step, const AdamOptions& options) {
  const auto t = static_cast<double>(step);
  return options.learning_rate * std::sqrt(1 - std::pow(options.beta2, t)) /
         (1 - std::pow(options.beta1, t));
}

template <typename T>
struct Coefficients {
  T beta1;
  T beta2;
  T rate;
  T epsilon;
};

// The one pass over memory. A clone per instruction set: the baseline of x86-64 has vectors of 16
// bytes, and the square root and division make this loop wait for arithmetic, not for memory.
template <typename T>
[[gnu::always_inline]] inline void update_run(std::int64_t count, T* __restrict parameter,
                                              const T* __restrict gradient, T* __restrict first,
                                              T* __restrict second, Coefficients<T> c) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T g = gradient[i];
    const T m = c.beta1 * first[i] + (1 - c.beta1) * g;
    const T v = c.beta2 * second[i] + (1 - c.beta2) * (g * g);
    first[i] = m;
    second[i] = v;
    parameter[i] -= c.rate * m / (std::sqrt(v) + c.epsilon);
  }
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define EIGENSCALE_VECTOR_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define EIGENSCALE_VECTOR_CLONES
#endif

EIGENSCALE_VECTOR_CLONES
void update_floats(std::int64_t count, float* parameter, const float* gradient, float* first,
                   float* second, Coefficients<float> c) {
  update_run(count, parameter, gradient, first, second, c);
}

EIGENSCALE_VECTOR_CLONES
void update_doubles(std::int64_t count, double* parameter, const double* gradient, double* first,
                    double* second, Coefficients<double> c) {
  update_run(count, parameter, gradient, first, second, c);
}

template <typename T, typename Update>
void update_runs(const torch::Tensor& parameter, const torch::Tensor& gradient,
                 const torch::Tensor& first, const torch::Tensor& second, std::int64_t step,
                 const AdamOptions& options, Update update) {
  const double rate = corrected_rate(step, options);
  const Coefficients<T> c = {static_cast<T>(options.beta1), static_cast<T>(options.beta2),
                             static_cast<T>(rate), static_cast<T>(options.epsilon)};
  std::int64_t runs = 1;
  std::int64_t length = parameter.numel();
  std::int64_t stride = 0;
  if (!parameter.is_contiguous() && !parameter.t().is_contiguous()) {
    const int run_dimension = parameter.stride(0) == 1 ? 0 : 1;
    length = parameter.size(run_dimension);
    runs = parameter.size(1 - run_dimension);
    stride = parameter.stride(1 - run_dimension);
  }
  for (std::int64_t run = 0; run < runs; ++run) {
    const auto offset = run * stride;
    update(length, parameter.data_ptr<T>() + offset, gradient.data_ptr<T>() + offset,
           first.data_ptr<T>() + offset, second.data_ptr<T>() + offset, c);
  }
}

void check_panels(const torch::Tensor& parameter, const torch::Tensor& gradient,
                  const torch::Tensor& first, const torch::Tensor& second) {
  for (const auto* other : {&gradient, &first, &second}) {
    TORCH_CHECK(other->sizes() == parameter.sizes() && other->strides() == parameter.strides() &&
                    other->scalar_type() == parameter.scalar_type(),
                "Adam: parameter, gradient and moments must have one shape, strides and type");
  }
  TORCH_CHECK(parameter.is_contiguous() ||
                  (parameter.dim() == 2 && (parameter.stride(0) == 1 || parameter.stride(1) == 1)),
              "Adam: a panel needs two dimensions and unit stride in one of them");
}

}  // namespace

void adam_update_by_operations(const torch::Tensor& parameter, const torch::Tensor& gradient,
                               const torch::Tensor& first_moment,
                               const torch::Tensor& second_moment, std::int64_t step,
                               const AdamOptions& options) {
  const torch::NoGradGuard no_grad;
  torch::Tensor(first_moment).mul_(options.beta1).add_(gradient, 1 - options.beta1);
  torch::Tensor(second_moment).mul_(options.beta2).addcmul_(gradient, gradient, 1 - options.beta2);
  torch::Tensor(parameter).addcdiv_(first_moment, second_moment.sqrt().add_(options.epsilon),
                                    -corrected_rate(step, options));
}

void adam_update(const torch::Tensor& parameter, const torch::Tensor& gradient,
                 const torch::Tensor& first_moment, const torch::Tensor& second_moment,
                 std::int64_t step, const AdamOptions& options) {
  check_panels(parameter, gradient, first_moment, second_moment);
  if (!parameter.is_cpu()) {
    adam_update_by_operations(parameter, gradient, first_moment, second_moment, step, options);
  } else if (parameter.scalar_type() == torch::kFloat32) {
    update_runs<float>(parameter, gradient, first_moment, second_moment, step, options,
                       update_floats);
  } else {
    update_runs<double>(parameter, gradient, first_moment, second_moment, step, options,
                        update_doubles);
  }
}

}  // namespace eigenscale
