#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/data/element_type.h"
#include "eigenscale/data/input_file.h"

namespace eigenscale {

/// The head of a NumPy array file (numpy.lib.format): magic, version, length, then a Python
/// dictionary with `descr`, `fortran_order` and `shape`.
struct NpyHeader {
  ElementType type;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  /// Offset of the first element in the file.
  std::int64_t data_offset = 0;
};

/// [local] InputError when the file does not begin with a header of version 1.0, 2.0 or 3.0 that
/// describes an array of numbers.
NpyHeader read_npy_header(const InputFile& file);

/// The bytes before the elements of an array of C order in native byte order, format version 1.0,
/// padded so that the elements are aligned to 64 bytes.
std::string format_npy_header(const ElementType& type, const std::vector<std::int64_t>& shape);

}  // namespace eigenscale
