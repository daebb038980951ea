#include "eigenscale/report/png.h"

#include <zlib.h>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

std::string decode_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') {
      break;
    }
    bits = bits << 6 | static_cast<std::uint32_t>(digits.find(c));
    held += 6;
    if (held >= 8) {
      held -= 8;
      out.push_back(static_cast<char>(bits >> held & 0xFFU));
    }
  }
  return out;
}

std::uint32_t big_endian(const std::string& data, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<unsigned char>(data[at + i]);
  }
  return value;
}

void round_trip(const torch::Tensor& pixels) {
  const std::string prefix = "data:image/png;base64,";
  const auto uri = png_data_uri(pixels);
  ASSERT_TRUE(uri.starts_with(prefix));
  const auto png = decode_base64(uri.substr(prefix.size()));
  ASSERT_EQ(png.substr(1, 3), "PNG");
  EXPECT_EQ(big_endian(png, 16), pixels.size(1));
  EXPECT_EQ(big_endian(png, 20), pixels.size(0));
  std::string raw;
  for (std::size_t at = 8; at < png.size();) {
    const std::uint32_t size = big_endian(png, at);
    const std::string body = png.substr(at + 4, size + 4);
    EXPECT_EQ(big_endian(png, at + 8 + size),
              ::crc32(0, reinterpret_cast<const Bytef*>(body.data()), body.size()));
    if (body.starts_with("IDAT")) {
      raw.resize(1 << 20);
      uLongf length = raw.size();
      ASSERT_EQ(::uncompress(reinterpret_cast<Bytef*>(raw.data()), &length,
                             reinterpret_cast<const Bytef*>(body.data()) + 4, size),
                Z_OK);
      raw.resize(length);
    }
    at += 12 + size;
  }
  const std::size_t row = pixels.numel() / pixels.size(0);
  ASSERT_EQ(raw.size(), pixels.size(0) * (row + 1));
  const auto* expected = pixels.data_ptr<std::uint8_t>();
  for (std::int64_t y = 0; y < pixels.size(0); ++y) {
    EXPECT_EQ(raw[y * (row + 1)], 0);
    EXPECT_TRUE(std::equal(expected + y * row, expected + (y + 1) * row,
                           reinterpret_cast<const std::uint8_t*>(raw.data()) + y * (row + 1) + 1));
  }
}

TEST(Png, DecodesToTheSamePixels) {
  round_trip((torch::arange(7 * 5) * 7 % 256).to(torch::kUInt8).reshape({7, 5}));
  round_trip((torch::arange(4 * 9 * 3) * 11 % 256).to(torch::kUInt8).reshape({4, 9, 3}));
  round_trip(torch::zeros({1, 1}, torch::kUInt8));
}

}  // namespace
}  // namespace eigenscale
