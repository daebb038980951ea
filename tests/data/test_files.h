// Files made byte by byte, so that readers are tested against the format and not against our own
// writers.
#pragma once

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "support/mpi_test.h"

namespace eigenscale::test {

/// [collective] Rank 0 writes the file; it is there for all on return.
inline void put_file(const std::filesystem::path& path, const std::string& bytes) {
  if (world().rank() == 0) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  world().barrier();
}

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename T>
void append(std::string& bytes, T value, std::endian order) {
  std::string word(sizeof(T), '\0');
  std::memcpy(word.data(), &value, sizeof(T));
  if (order != std::endian::native) {
    word.assign(word.rbegin(), word.rend());
  }
  bytes += word;
}

/// A NumPy file of the given format version around `elements`.
inline std::string npy_bytes(const std::string& dictionary, const std::string& elements,
                             int major = 1) {
  const std::string text = dictionary + "   \n";
  std::string bytes = "\x93NUMPY";
  bytes += {static_cast<char>(major), '\0'};
  if (major == 1) {
    append(bytes, static_cast<std::uint16_t>(text.size()), std::endian::little);
  } else {
    append(bytes, static_cast<std::uint32_t>(text.size()), std::endian::little);
  }
  return bytes + text + elements;
}

inline std::string npy_dictionary(const std::string& descr, const std::string& shape,
                                  bool fortran_order = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran_order ? "True" : "False") +
         ", 'shape': " + shape + ", }";
}

/// A NumPy file of doubles.
inline std::string npy_of(const std::string& shape, const std::vector<double>& values) {
  std::string elements;
  for (const double value : values) {
    append(elements, value, std::endian::little);
  }
  return npy_bytes(npy_dictionary("<f8", shape), elements);
}

/// [collective] Expects `call` to throw an error that all ranks agreed on, of exit code `code`;
/// returns its message.
inline std::string agreed_error(ExitCode code, const std::function<void()>& call) {
  std::string message;
  bool agreed = false;
  ExitCode found = ExitCode::kDone;
  try {
    call();
  } catch (const Error& error) {
    message = error.what();
    agreed = error.agreed();
    found = error.exit_code();
  }
  EXPECT_EQ(found, code) << message;
  EXPECT_TRUE(agreed) << message;
  return message;
}

inline RowRange own_range(std::int64_t rows) {
  return RowPartition(rows, world().size()).range(world().rank());
}

}  // namespace eigenscale::test
