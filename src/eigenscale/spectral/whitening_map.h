#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/spectral/travelling_products.h"

namespace eigenscale {

/// A whitening transform as it is applied to centred rows, piece by piece, where they lie.
class WhiteningMap {
 public:
  virtual ~WhiteningMap() = default;
  WhiteningMap(const WhiteningMap&) = delete;
  WhiteningMap& operator=(const WhiteningMap&) = delete;

  /// Numbers of a whitened row.
  virtual std::int64_t width() const = 0;
  /// Type in which rows are to be centred: digits lost there would be blown up.
  virtual torch::ScalarType type() const = 0;
  /// [collective] This rank's rows (m x D, m may differ between ranks) to m x width.
  virtual torch::Tensor apply(const torch::Tensor& centred) const = 0;

 protected:
  WhiteningMap() = default;
};

/// y = W^T x with W (D x width) dealt out over the ranks' grid; products in W's type.
class DenseWhitening final : public WhiteningMap {
 public:
  /// `symmetric` says that W equals its transpose, which then need not be taken.
  DenseWhitening(DistributedMatrix matrix, bool symmetric)
      : matrix_(std::move(matrix)), symmetric_(symmetric) {}
  std::int64_t width() const override { return matrix_.layout().columns; }
  torch::ScalarType type() const override { return matrix_.scalar_type(); }
  torch::Tensor apply(const torch::Tensor& centred) const override;

 private:
  DistributedMatrix matrix_;
  bool symmetric_;
};

/// The same on devices, with W in blocks of rows.
class DeviceWhitening final : public WhiteningMap {
 public:
  explicit DeviceWhitening(DeviceProduct product) : product_(std::move(product)) {}
  std::int64_t width() const override { return product_.columns(); }
  torch::ScalarType type() const override { return product_.type(); }
  torch::Tensor apply(const torch::Tensor& centred) const override { return product_(centred); }

 private:
  DeviceProduct product_;
};

/// The same with W whole on every rank, whose rows stay where they are.
class WholeWhitening final : public WhiteningMap {
 public:
  /// Rows are to have the type of `matrix`.
  explicit WholeWhitening(torch::Tensor matrix) : matrix_(std::move(matrix)) {}
  std::int64_t width() const override { return matrix_.size(1); }
  torch::ScalarType type() const override { return matrix_.scalar_type(); }
  torch::Tensor apply(const torch::Tensor& centred) const override;

 private:
  torch::Tensor matrix_;
};

/// zca from k leading components V (D x k, whole on every rank) without D x D numbers:
///   y = V (f ∘ (V^T x)) + r (x - V V^T x),
/// where f = (l + e)^(-1/2) and r is the same of the mean variance of the other directions.
class LowRankWhitening final : public WhiteningMap {
 public:
  /// `rest` is r. `components` and `factors` (k) of one type: that of the rows.
  LowRankWhitening(torch::Tensor components, torch::Tensor factors, double rest)
      : components_(std::move(components)), factors_(std::move(factors)), rest_(rest) {}
  std::int64_t width() const override { return components_.size(0); }
  torch::ScalarType type() const override { return components_.scalar_type(); }
  torch::Tensor apply(const torch::Tensor& centred) const override;

 private:
  torch::Tensor components_;
  torch::Tensor factors_;
  double rest_;
};

}  // namespace eigenscale
