#pragma once

#include <cstdint>
#include <string>

#include "eigenscale/comm/placement.h"
#include "eigenscale/spectral/whitening_map.h"
#include "eigenscale/spectral/whitening_transform.h"

namespace eigenscale {

/// What a finished whitening run says of its transform, before any array is read.
class FinishedWhitening {
 public:
  /// [collective] `directory` is that of the run. InputError (agreed) when no whitening run has
  /// finished there, or its summary is not one.
  FinishedWhitening(const Communicator& communicator, const std::string& directory);

  const std::string& directory() const { return directory_; }
  WhiteningMethod method() const { return method_; }
  /// Whether the components were found without the covariance.
  bool low_rank() const { return low_rank_; }
  std::int64_t features() const { return features_; }
  /// Numbers of a whitened sample.
  std::int64_t width() const;
  /// The factor on every value before the mean is taken away.
  double scale() const { return scale_; }
  /// The arrays the transform is read from, as path or path:dataset.
  std::string matrix_name() const;
  std::string mean_name() const { return directory_ + "/mean.npy"; }

  /// [collective] D doubles on all ranks. InputError (agreed) unless the array is one of the run.
  torch::Tensor mean() const;
  /// [collective] The map of the run, for `rows` samples of `type` (float or double) that lie as
  /// `placement` says: to the bit that of the run for the type and number that it had. InputError
  /// (agreed) as above.
  std::unique_ptr<WhiteningMap> map(const Placement& placement,
                                    const std::shared_ptr<const ProcessGrid>& grid,
                                    torch::ScalarType type, std::int64_t rows) const;
  /// [local] Bytes of the fullest of so many ranks that the map for `rows` samples takes.
  double bytes(std::int64_t rows, std::int64_t ranks) const;

 private:
  /// [collective] Own rows (RowPartition) of one of the run's arrays of doubles, rows x columns.
  torch::Tensor own_rows(const std::string& name, std::int64_t rows, std::int64_t columns) const;
  /// [collective] A vector, whole on every rank.
  torch::Tensor whole(const std::string& name, std::int64_t numbers) const;

  const Communicator& communicator_;
  std::string directory_;
  WhiteningMethod method_ = WhiteningMethod::kZca;
  bool low_rank_ = false;
  bool hdf5_ = false;
  torch::ScalarType product_ = torch::kFloat64;
  std::int64_t features_ = 0;
  std::int64_t components_ = 0;
  double scale_ = 1;
  double epsilon_ = 0;
  double rest_variance_ = 0;
};

}  // namespace eigenscale
