#pragma once

#include <hdf5.h>

#include <cstdint>
#include <string>
#include <utility>

#include "eigenscale/data/element_type.h"

namespace eigenscale {

/// Owns an HDF5 identifier and the function that closes it. Errors of closing are reported by
/// `close()` only. The HDF5 library is not thread-safe; neither is this.
class Hdf5Handle {
 public:
  using Closer = herr_t (*)(hid_t);

  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  ~Hdf5Handle() { close(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), closer_(other.closer_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(closer_, other.closer_);
    return *this;
  }

  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }
  /// False when the library reports that closing (for a file: writing what it still held) failed.
  bool close() {
    const hid_t id = std::exchange(id_, H5I_INVALID_HID);
    return id < 0 || closer_(id) >= 0;
  }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Closer closer_ = nullptr;
};

/// The innermost message on HDF5's error stack; HDF5 itself is kept from printing it.
std::string hdf5_reason();

/// [local] Stops HDF5 from printing its error stack. Called before any other HDF5 function.
void silence_hdf5();

/// The HDF5 type of numbers in memory that `type` describes, in native byte order; bool as
/// uint8. std::invalid_argument for half precision, which HDF5 1.10 cannot hold in memory.
hid_t native_hdf5_type(const ElementType& type);

}  // namespace eigenscale
