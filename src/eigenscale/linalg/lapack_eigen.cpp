#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/scalapack.h"

namespace eigenscale {
namespace {

void require_lapack_success(int info, const char* routine) {
  if (info != 0) {
    throw NumericalError(std::string("LAPACK's ") + routine + " failed with code " +
                         std::to_string(info) + ": the eigenvalues did not converge");
  }
}

LocalEigenpairs all_pairs(torch::Tensor matrix) {
  const int n = static_cast<int>(matrix.size(0));
  auto values = torch::empty({n}, torch::kFloat64);
  int info = 0;
  int query = -1;
  double best_work = 0;
  int best_integers = 0;
  dsyevd_("V", "L", &n, matrix.data_ptr<double>(), &n, values.data_ptr<double>(), &best_work,
          &query, &best_integers, &query, &info);
  const int work_size = static_cast<int>(best_work);
  auto work = torch::empty({work_size}, torch::kFloat64);
  std::vector<int> integers(best_integers);
  dsyevd_("V", "L", &n, matrix.data_ptr<double>(), &n, values.data_ptr<double>(),
          work.data_ptr<double>(), &work_size, integers.data(), &best_integers, &info);
  require_lapack_success(info, "dsyevd");
  return {values, matrix};
}

/// A = Q T Q^T with T tridiagonal; Q stays in `matrix` and `tau`.
struct Tridiagonal {
  torch::Tensor matrix;
  std::vector<double> diagonal, off_diagonal, tau;
};

Tridiagonal tridiagonalize(torch::Tensor matrix) {
  const int n = static_cast<int>(matrix.size(0));
  Tridiagonal result{matrix, std::vector<double>(n), std::vector<double>(n),
                     std::vector<double>(n)};
  int info = 0;
  const int work_size = 64 * n;
  std::vector<double> work(work_size);
  dsytrd_("L", &n, matrix.data_ptr<double>(), &n, result.diagonal.data(),
          result.off_diagonal.data(), result.tau.data(), work.data(), &work_size, &info);
  require_lapack_success(info, "dsytrd");
  return result;
}

std::vector<double> all_values(const Tridiagonal& tridiagonal) {
  auto values = tridiagonal.diagonal;
  auto off_diagonal = tridiagonal.off_diagonal;
  const int n = static_cast<int>(values.size());
  int info = 0;
  dsterf_(&n, values.data(), off_diagonal.data(), &info);
  require_lapack_success(info, "dsterf");
  return values;
}

/// Pairs first .. last (from 0, ascending) into columns of `vectors` from `column` on.
void pairs_between(const Tridiagonal& tridiagonal, int first, int last, double* values,
                   double* vectors) {
  const int n = static_cast<int>(tridiagonal.diagonal.size());
  auto diagonal = tridiagonal.diagonal;
  auto off_diagonal = tridiagonal.off_diagonal;
  const int lowest = first + 1;
  const int highest = last + 1;
  const int count = last - first + 1;
  const double unused = 0;
  int found = 0;
  int try_relative = 1;
  int info = 0;
  std::vector<double> own_values(n);
  std::vector<int> support(2 * static_cast<std::size_t>(count));
  const int work_size = 18 * n;
  const int integer_size = 10 * n;
  std::vector<double> work(work_size);
  std::vector<int> integers(integer_size);
  dstemr_("V", "I", &n, diagonal.data(), off_diagonal.data(), &unused, &unused, &lowest, &highest,
          &found, own_values.data(), vectors, &n, &count, support.data(), &try_relative,
          work.data(), &work_size, integers.data(), &integer_size, &info);
  require_lapack_success(info, "dstemr");
  std::copy_n(own_values.begin(), count, values);
}

/// How many of the `count` values of largest magnitude lie at the lower end (values ascending).
int count_at_lower_end(const std::vector<double>& values, std::int64_t count) {
  int low = 0;
  std::int64_t high = static_cast<std::int64_t>(values.size()) - 1;
  for (std::int64_t taken = 0; taken < count; ++taken) {
    if (std::abs(values[low]) > std::abs(values[high])) {
      ++low;
    } else {
      --high;
    }
  }
  return low;
}

/// Whether vectors of both ends may belong to one eigenspace, as those of a null space do: two
/// calls of dstemr would find them without regard to each other.
bool ends_are_close(const std::vector<double>& values, int low, int count) {
  if (low == 0 || low == count) {
    return false;
  }
  constexpr double kApart = 1e-3;
  const double largest = std::max(std::abs(values.front()), std::abs(values.back()));
  return values[values.size() - (count - low)] - values[low - 1] < kApart * largest;
}

}  // namespace

LocalEigenpairs lapack_eigen_tridiagonal(torch::Tensor matrix, EigenRange range) {
  const int n = static_cast<int>(matrix.size(0));
  const int count = range.kind == EigenRange::Kind::kAll ? n : static_cast<int>(range.count);
  const auto tridiagonal = tridiagonalize(matrix);
  int low = 0;
  bool joined = false;
  if (range.kind == EigenRange::Kind::kSmallest) {
    low = count;
  } else if (range.kind == EigenRange::Kind::kLargestMagnitude) {
    const auto all = all_values(tridiagonal);
    low = count_at_lower_end(all, count);
    joined = ends_are_close(all, low, count);
  }
  auto values = torch::empty({count}, torch::kFloat64);
  auto vectors = empty_column_major(n, count, torch::kFloat64);
  if (joined) {
    auto every_value = torch::empty({n}, torch::kFloat64);
    auto every_vector = empty_column_major(n, n, torch::kFloat64);
    pairs_between(tridiagonal, 0, n - 1, every_value.data_ptr<double>(),
                  every_vector.data_ptr<double>());
    const auto both = [&](const torch::Tensor& from) {
      return torch::cat({from.narrow(0, 0, low), from.narrow(0, n - (count - low), count - low)});
    };
    values.copy_(both(every_value));
    vectors.copy_(both(every_vector.t()).t());
  } else {
    if (low > 0) {
      pairs_between(tridiagonal, 0, low - 1, values.data_ptr<double>(), vectors.data_ptr<double>());
    }
    if (low < count) {
      pairs_between(tridiagonal, n - (count - low), n - 1, values.data_ptr<double>() + low,
                    vectors.data_ptr<double>() + static_cast<std::int64_t>(low) * n);
    }
  }
  int info = 0;
  const int work_size = 64 * std::max(n, count);
  std::vector<double> work(work_size);
  dormtr_("L", "L", "N", &n, &count, matrix.data_ptr<double>(), &n, tridiagonal.tau.data(),
          vectors.data_ptr<double>(), &n, work.data(), &work_size, &info);
  require_lapack_success(info, "dormtr");
  return {values, vectors};
}

std::int64_t lapack_pairs(std::int64_t n, EigenRange range) {
  const bool all = n < 3 || range.kind == EigenRange::Kind::kAll || 2 * range.count > n;
  return all ? n : range.count;
}

LocalEigenpairs lapack_eigen(torch::Tensor matrix, EigenRange range) {
  // From here on dsyevd's work space, 2 n^2 + 6 n + 1 numbers, cannot be counted in 32 bits.
  constexpr std::int64_t kTooLarge = 32766;
  const std::int64_t n = matrix.size(0);
  const bool all = lapack_pairs(n, range) == n;
  if (all && n < kTooLarge) {
    return all_pairs(matrix);
  }
  return lapack_eigen_tridiagonal(matrix, all ? EigenRange::all() : range);
}

}  // namespace eigenscale
