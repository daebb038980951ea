#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "eigenscale/data/input_file.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// The binary version of CIFAR-10 (a record is 1 label, then 3 x 32 x 32 pixels) and CIFAR-100
/// (coarse label, fine label, pixels), A. Krizhevsky 2009. Hands out the images, uint8 N x 3 x 32 x
/// 32, or one kind of label, uint8 N.
///
/// Which of the two it is follows from the size of the file, a multiple of 3073 or of 3074 bytes; a
/// file that could be both needs the word from the user.
class CifarSource final : public SampleSource {
 public:
  /// [local] `selector` is what stands behind `file.bin`: empty, or words separated by ':' out of
  /// `cifar10`, `cifar100`, `labels` (for CIFAR-100 the fine ones), `fine-labels`, `coarse-labels`.
  /// InputError for an unknown word, or a size that fits no format.
  CifarSource(const std::string& path, const std::string& selector);
  torch::Tensor read_rows(RowRange range) const override;

 private:
  struct Opened;
  explicit CifarSource(Opened opened);

  std::unique_ptr<InputFile> file_;
  std::int64_t record_bytes_;
  std::int64_t field_offset_;
  std::int64_t field_bytes_;
};

}  // namespace eigenscale
