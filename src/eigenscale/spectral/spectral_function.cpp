#include "eigenscale/spectral/spectral_function.h"

#include <algorithm>
#include <cmath>

#include "eigenscale/comm/device_transfer.h"

namespace eigenscale {

double SpectralFunction::smallest(const torch::Tensor& eigenvalues) {
  const double largest =
      eigenvalues.numel() > 0 ? number_of(eigenvalues[0], "eigenvalues").toDouble() : 0;
  return std::max(static_cast<double>(eigenvalues.numel()) * 0x1p-52 * largest, 1e-300);
}

torch::Tensor SpectralFunction::values(const torch::Tensor& eigenvalues) const {
  const auto kept = (torch::arange(eigenvalues.numel(), eigenvalues.device()) <
                     static_cast<std::int64_t>(parameter_))
                        .to(torch::kFloat64);
  if (kind_ == Kind::kProjector) {
    return kept;
  }
  const auto l = eigenvalues.clamp_min(smallest(eigenvalues));
  switch (kind_) {
    case Kind::kInverseSquareRoot:
      return l.rsqrt();
    case Kind::kTruncatedInverseSquareRoot:
      return l.rsqrt() * kept;
    case Kind::kSquareRoot:
      return l.sqrt();
    case Kind::kPower:
      return l.pow(parameter_);
    default:
      return l.log();
  }
}

torch::Tensor SpectralFunction::divided_differences(const torch::Tensor& eigenvalues,
                                                    const torch::Tensor& rows,
                                                    const torch::Tensor& columns) const {
  const auto as_rows = [&](const torch::Tensor& all) {
    return (rows.defined() ? all.index_select(0, rows) : all).unsqueeze(1);
  };
  const auto as_columns = [&](const torch::Tensor& all) {
    return (columns.defined() ? all.index_select(0, columns) : all).unsqueeze(0);
  };
  if (kind_ == Kind::kProjector || kind_ == Kind::kTruncatedInverseSquareRoot) {
    constexpr double kSmallestGap = 1e-8;
    const auto kept =
        from_code({static_cast<double>(Kind::kProjector), parameter_}).values(eigenvalues);
    const auto f = values(eigenvalues);
    const auto a = as_rows(eigenvalues);
    const auto b = as_columns(eigenvalues);
    const auto gap = torch::maximum(
        (a - b).abs(), (kSmallestGap * torch::maximum(a.abs(), b.abs())).clamp_min(1e-300));
    // The kept one is the larger, and f is 0 for the other.
    const auto across = (as_rows(kept) - as_columns(kept)).abs();
    const auto result = across * (as_rows(f) + as_columns(f)) / gap;
    if (kind_ == Kind::kProjector) {
      return result;
    }
    return result + as_rows(kept) * as_columns(kept) *
                        inverse_square_root().divided_differences(eigenvalues, rows, columns);
  }
  const auto l = eigenvalues.clamp_min(smallest(eigenvalues));
  const auto a = as_rows(l);
  const auto b = as_columns(l);
  if (kind_ == Kind::kInverseSquareRoot) {
    return -(a.sqrt() * b.sqrt() * (a.sqrt() + b.sqrt())).reciprocal();
  }
  if (kind_ == Kind::kSquareRoot) {
    return (a.sqrt() + b.sqrt()).reciprocal();
  }
  // t = log(a / b) / 2 = artanh((a - b) / (a + b)): near each other the second form, whose
  // difference is exact, far from each other the first.
  const auto r = (a - b) / (a + b);
  const auto t =
      torch::where(r.abs() < 0.5, torch::atanh(r.clamp(-0.5, 0.5)), (a.log() - b.log()) / 2);
  const auto equal = t == 0;
  const auto safe = torch::where(equal, torch::ones_like(t), t);
  if (kind_ == Kind::kLogarithm) {
    return torch::where(equal, a.reciprocal(), 2 * safe / torch::where(equal, safe, a - b));
  }
  // (a^p - b^p) / (a - b) = (a b)^((p - 1) / 2) sinh(p t) / sinh(t).
  const auto ratio = torch::where(equal, torch::full_like(t, parameter_),
                                  torch::sinh(parameter_ * safe) / torch::sinh(safe));
  return (a * b).pow((parameter_ - 1) / 2) * ratio;
}

}  // namespace eigenscale
