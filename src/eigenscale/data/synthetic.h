#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Labelled samples from a union of K random subspaces. Sample i of cluster k is
///
///   subspaces   x = U_k a + sigma e
///   nonlinear   x = tanh(W U_k a) + sigma e
///
/// with U_k an orthonormal basis (D x d) of the range of a Gaussian matrix, a uniform on the unit
/// sphere of R^d, W (D x D) and e (D) standard normal. Clusters have N / K samples each (the first
/// N mod K one more), in shuffled order.
struct SyntheticOptions {
  std::string kind = "subspaces";
  std::int64_t samples = 10000;
  std::int64_t ambient_dim = 200;
  std::int64_t subspace_dim = 6;
  std::int64_t clusters = 20;
  double noise = 0;
  std::uint64_t seed = 0;
};

/// OptionError when the options contradict each other, or the K maps of D x d numbers, which every
/// rank holds in double precision, would take more than 1 GiB.
void check(const SyntheticOptions& options);

struct SyntheticRows {
  torch::Tensor rows;    ///< float32, n x D
  torch::Tensor labels;  ///< int64, n
};

/// Makes rows of a synthetic data set: a row depends on the options and its index alone, to the
/// bit, so any rank makes any rows. Holds the K maps, nothing that grows with N.
class SyntheticData {
 public:
  /// [local] OptionError, see `check`.
  explicit SyntheticData(const SyntheticOptions& options);

  torch::Tensor rows(RowRange range) const;
  torch::Tensor labels(RowRange range) const;

 private:
  SyntheticOptions options_;
  torch::Tensor maps_;  // float64, K x D x d: U_k or W U_k
};

/// [local] Rows and labels of `range`.
SyntheticRows generate_rows(const SyntheticOptions& options, RowRange range);

/// [collective] Writes `directory`/data.npy (float32, N x D) and `directory`/labels.npy (int64, N),
/// the same bytes for every number of ranks; the directory is made. Memory does not grow with N.
/// OptionError as `check`; OutputError as write_npy.
void generate(const Communicator& communicator, const SyntheticOptions& options,
              const std::filesystem::path& directory);

}  // namespace eigenscale
