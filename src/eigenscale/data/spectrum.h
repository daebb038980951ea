#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Samples whose covariance has a known spectrum, exactly and not only on the average. Sample i is
///
///   x_i = c + sum_j sqrt(l_j) sqrt(2) cos(pi (2 p(i) + 1) f(j) / (2 N)) q_j,     j = 1 .. r,
///
/// with p a permutation of the samples and f(j) different whole numbers in 1 .. N-1: columns of the
/// discrete cosine transform, which are orthogonal and of mean zero. So the mean of the N samples
/// is c and their covariance, divided by N, sum_j l_j q_j q_j^T, to the rounding of the samples.
///
///   power       l_j = s j^(-decay)
///   geometric   l_j = s decay^(j-1)
///
/// where s makes the mean variance of a feature 1 (the sum D). c_k is `mean` times 1 + u_k, u_k
/// uniform in (0, 1). The q_j are rows of an orthogonal matrix of D x D that nobody forms: random
/// signs and Walsh-Hadamard transforms of the first, and after a random permutation of the last,
/// 2^p <= D coordinates.
struct SpectrumOptions {
  std::int64_t samples = 10000;
  std::int64_t ambient_dim = 200;
  std::string law = "power";  ///< power or geometric
  double decay = 1;           ///< power: 0 or more; geometric: above 0, at most 1
  std::int64_t rank = 0;      ///< r; 0: the smaller of N - 1 and D
  double mean = 0;
  std::uint64_t seed = 0;
};

/// OptionError when the options contradict each other; `rank` is settled.
SpectrumOptions checked(SpectrumOptions options);

/// Makes rows of such a data set: a row depends on the options and its index alone, to the bit, so
/// any rank makes any rows. Holds 24 bytes for each feature and r.
class SpectrumData {
 public:
  /// [local] OptionError, see `checked`.
  explicit SpectrumData(const SpectrumOptions& options);
  ~SpectrumData();

  /// [local] Rows of `range`, n x D doubles, in D log D + r steps each.
  torch::Tensor make(RowRange range) const;
  /// [local] The l_j, descending, r doubles.
  const torch::Tensor& variances() const { return variances_; }
  /// [local] c, D doubles.
  const torch::Tensor& mean() const { return mean_; }
  /// [local] q_j for the j of `range`, counted from 0: n x D doubles.
  torch::Tensor directions(RowRange range) const;

 private:
  class Rotation;

  SpectrumOptions options_;
  torch::Tensor variances_;
  torch::Tensor mean_;
  std::unique_ptr<const Rotation> rotation_;
};

/// [collective] Writes `directory`/data.npy (float32, N x D), variances.npy (r doubles), mean.npy
/// (D doubles) and directions.npy (doubles, the leading q_j, as many as take 64 MiB, at least one),
/// the same bytes for every number of ranks; the directory is made. `progress` is told (local) how
/// many of this rank's samples, the range of a RowPartition, are made: 0 first, all of them last.
/// OptionError as `checked`; OutputError as write_npy.
void generate_spectrum(const Communicator& communicator, const SpectrumOptions& options,
                       const std::filesystem::path& directory,
                       const std::function<void(std::int64_t done)>& progress = {});

}  // namespace eigenscale
