#include "eigenscale/report/png.h"

#include <zlib.h>

#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace eigenscale {
namespace {

void append_big_endian(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xFFU));
  }
}

void append_chunk(std::string& out, std::string_view type, const std::string& data) {
  append_big_endian(out, static_cast<std::uint32_t>(data.size()));
  const std::string body = std::string(type) + data;
  out += body;
  append_big_endian(
      out, static_cast<std::uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(body.data()),
                                              static_cast<uInt>(body.size()))));
}

std::string deflate(const std::string& data) {
  uLongf size = ::compressBound(data.size());
  std::string out(size, '\0');
  if (::compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                  reinterpret_cast<const Bytef*>(data.data()), data.size(),
                  Z_BEST_COMPRESSION) != Z_OK) {
    throw std::runtime_error("zlib cannot compress a picture");
  }
  out.resize(size);
  return out;
}

std::string base64(const std::string& data) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < data.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (i + j < data.size() ? static_cast<unsigned char>(data[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out.push_back(i + j <= data.size() ? kDigits[bits >> (18 - 6 * j) & 63U] : '=');
    }
  }
  return out;
}

}  // namespace

std::string png_data_uri(const torch::Tensor& pixels) {
  const auto image = pixels.to(torch::kUInt8).contiguous();
  const std::int64_t height = image.size(0);
  const std::int64_t width = image.size(1);
  const bool colour = image.dim() == 3;
  const auto row_bytes = static_cast<std::size_t>(width * (colour ? 3 : 1));
  std::string rows;
  const auto* data = static_cast<const char*>(image.data_ptr());
  for (std::int64_t y = 0; y < height; ++y) {
    rows.push_back('\0');  // no filter
    rows.append(data + static_cast<std::size_t>(y) * row_bytes, row_bytes);
  }
  std::string header;
  append_big_endian(header, static_cast<std::uint32_t>(width));
  append_big_endian(header, static_cast<std::uint32_t>(height));
  header += {8, static_cast<char>(colour ? 2 : 0), 0, 0, 0};
  std::string png("\x89PNG\r\n\x1a\n", 8);
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", deflate(rows));
  append_chunk(png, "IEND", "");
  return "data:image/png;base64," + base64(png);
}

}  // namespace eigenscale
