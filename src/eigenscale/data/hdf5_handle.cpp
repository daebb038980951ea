#include "eigenscale/data/hdf5_handle.h"

#include <stdexcept>

namespace eigenscale {
namespace {

herr_t keep_description(unsigned, const H5E_error2_t* entry, void* text) {
  if (entry->desc != nullptr && *entry->desc != '\0') {
    *static_cast<std::string*>(text) = entry->desc;
  }
  return 0;
}

}  // namespace

std::string hdf5_reason() {
  std::string reason = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_description, &reason);
  return reason;
}

void silence_hdf5() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

hid_t native_hdf5_type(const ElementType& type) {
  if (type.kind == ElementType::Kind::kFloat) {
    if (type.bytes == 2) {
      throw std::invalid_argument("HDF5 1.10 has no half precision in memory");
    }
    return type.bytes == 4 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
  }
  const bool is_signed = type.kind == ElementType::Kind::kSigned;
  switch (type.bytes) {
    case 1:
      return is_signed ? H5T_NATIVE_INT8 : H5T_NATIVE_UINT8;
    case 2:
      return is_signed ? H5T_NATIVE_INT16 : H5T_NATIVE_UINT16;
    case 4:
      return is_signed ? H5T_NATIVE_INT32 : H5T_NATIVE_UINT32;
    default:
      return is_signed ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64;
  }
}

}  // namespace eigenscale
