#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// The rows of several files one behind the other, as if they stood in one. Owns the sources.
class ConcatenatedSource final : public SampleSource {
 public:
  /// [local] At least one source. InputError naming two files whose rows differ in shape.
  explicit ConcatenatedSource(std::vector<std::unique_ptr<SampleSource>> parts);

  torch::Tensor read_rows(RowRange range) const override;
  bool reads_beside_others() const override;
  bool notices_writes() const override;
  std::pair<std::string, std::int64_t> place(std::int64_t row) const override;

 private:
  std::size_t part_of(std::int64_t row) const;

  std::vector<std::unique_ptr<SampleSource>> parts_;
  std::vector<std::int64_t> first_rows_;
};

/// [local] The smallest type that holds every value of both: of integers the wider one that covers
/// both signs, of floating points the wider. A floating point beside integers of up to 8 bits
/// stays, beside 16 bits it is at least float32, beside more it is float64 (exact up to 2^53).
torch::ScalarType common_type(torch::ScalarType a, torch::ScalarType b);

}  // namespace eigenscale
