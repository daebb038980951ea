#pragma once

#include <torch/torch.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/data/augmentation.h"
#include "eigenscale/data/labelled_samples.h"

namespace eigenscale {

struct BatchStreamOptions {
  /// Samples of all ranks together; the last batch of an epoch may have fewer.
  std::int64_t batch_size = 128;
  std::uint64_t seed = 1;
  /// Type of the samples in a batch, and the factor on their values.
  torch::ScalarType type = torch::kFloat32;
  double scale = 1;
  AugmentationOptions augmentation = {};
};

/// What one rank gets of a global batch: a contiguous part of it, maybe nothing.
struct Batch {
  torch::Tensor samples;  ///< n x shape
  torch::Tensor labels;   ///< n; undefined where the samples have none
  std::int64_t global_size = 0;
};

/// Shuffled batches of samples that lie in blocks on the ranks. The order of an epoch is a
/// permutation of (seed, epoch) and does not depend on the number of ranks. A thread fetches one
/// batch ahead: an all-to-all over a communicator of its own, then conversion and augmentation, and
/// the way to the device where there is one. Borrows the samples, which are on the host.
class BatchStream {
 public:
  /// [collective] Starts at batch `batch` of epoch `epoch` (both from 0).
  BatchStream(const Placement& placement, const LabelledSamples& samples,
              const BatchStreamOptions& options, std::int64_t epoch = 0, std::int64_t batch = 0);
  ~BatchStream();
  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

  /// [collective] The next batch; after the last one of an epoch the first of the next.
  Batch next();

  std::int64_t batches_per_epoch() const;

 private:
  struct Place {
    std::int64_t epoch = 0;
    std::int64_t batch = 0;
  };

  /// A batch that may still be on its way to the device.
  struct Fetched {
    Batch batch;
    std::optional<DeviceTransfer::Arriving> samples;
    std::optional<DeviceTransfer::Arriving> labels;
  };

  void run();
  Fetched send(Batch batch);
  Batch fetch(Place place) const;
  Batch exchange(const std::vector<std::int64_t>& global) const;

  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<DeviceTransfer> transfer_;  ///< null on the host
  const LabelledSamples& samples_;
  BatchStreamOptions options_;

  std::mutex mutex_;
  std::condition_variable changed_;
  /// What the thread has to fetch, and has fetched.
  std::optional<Place> wanted_;
  std::optional<Fetched> fetched_;
  std::exception_ptr failure_;
  bool stopping_ = false;
  Place place_;
  std::thread thread_;
};

}  // namespace eigenscale
