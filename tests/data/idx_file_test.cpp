#include "eigenscale/data/idx_file.h"

#include <zlib.h>

#include "data/test_files.h"

namespace eigenscale::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string idx_bytes(int type, const std::vector<std::uint32_t>& shape,
                      const std::string& elements) {
  std::string bytes = {'\0', '\0', static_cast<char>(type), static_cast<char>(shape.size())};
  for (const auto size : shape) {
    append(bytes, size, std::endian::big);
  }
  return bytes + elements;
}

template <typename T>
std::string ramp(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    append(bytes, static_cast<T>(i), std::endian::big);
  }
  return bytes;
}

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string result(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  deflate(&stream, Z_FINISH);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

class IdxFile : public testing::Test {
 protected:
  // The directory must not go before all ranks are done with it.
  void TearDown() override { world().barrier(); }

  std::string put(const std::string& name, const std::string& bytes) {
    put_file(directory_.path() / name, bytes);
    return directory_.path() / name;
  }
  std::string error_of(const std::string& name, const std::string& bytes) {
    const std::string path = put(name, bytes);
    const std::string message = agreed_error(
        ExitCode::kInput, [&] { const auto source = open_sample_source(world(), path); });
    EXPECT_THAT(message, HasSubstr(path));
    return message;
  }
  SharedDirectory directory_;
};

template <typename T>
void expect_ramp(const std::string& path, torch::ScalarType type) {
  SCOPED_TRACE(path);
  const auto source = open_sample_source(world(), path);
  EXPECT_EQ(source->rows(), 5);
  EXPECT_EQ(source->row_shape(), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(source->scalar_type(), type);
  const RowRange own = own_range(5);
  const auto expected = torch::arange(30, torch::kInt64).view({5, 2, 3}).to(type);
  EXPECT_TRUE(torch::equal(source->read_rows(own), expected.slice(0, own.begin, own.end)));
}

TEST_F(IdxFile, ReadsEveryTypePlainAndCompressed) {
  const auto check = [&]<typename T>(T, int code, torch::ScalarType type) {
    const std::string bytes = idx_bytes(code, {5, 2, 3}, ramp<T>(30));
    const std::string stem = "x" + std::to_string(code);
    expect_ramp<T>(put(stem + "-idx3-ubyte", bytes), type);
    expect_ramp<T>(put(stem + ".idx", bytes), type);
    expect_ramp<T>(put(stem + ".idx3-ubyte.gz", gzip(bytes)), type);
  };
  check(std::uint8_t{}, 0x08, torch::kUInt8);
  check(std::int8_t{}, 0x09, torch::kInt8);
  check(std::int16_t{}, 0x0b, torch::kInt16);
  check(std::int32_t{}, 0x0c, torch::kInt32);
  check(float{}, 0x0d, torch::kFloat32);
  check(double{}, 0x0e, torch::kFloat64);
}

TEST_F(IdxFile, CompressedRowsMayBeReadInAnyOrder) {
  const std::string bytes = idx_bytes(0x08, {100, 2}, ramp<std::uint8_t>(200));
  const IdxSource plain(put("x-idx2-ubyte", bytes));
  const IdxSource compressed(put("x-idx2-ubyte.gz", gzip(bytes)));
  for (const RowRange range : {RowRange{10, 20}, {20, 21}, {90, 100}, {0, 5}, {50, 50}, {0, 100}}) {
    EXPECT_TRUE(torch::equal(plain.read_rows(range), compressed.read_rows(range)));
  }
}

TEST_F(IdxFile, DamagedPlainFiles) {
  const std::string good = idx_bytes(0x08, {5, 2}, ramp<std::uint8_t>(10));
  EXPECT_THAT(error_of("a.idx", good.substr(0, good.size() - 1)),
              AllOf(HasSubstr("truncated"), HasSubstr("offset 21"), HasSubstr("promises 22")));
  EXPECT_THAT(error_of("b.idx", good + "x"), HasSubstr("promises only 22"));
  EXPECT_THAT(error_of("c.idx", good.substr(0, 6)), HasSubstr("offset 6"));
  EXPECT_THAT(error_of("d.idx", "GIF89a"), HasSubstr("not IDX"));
  EXPECT_THAT(error_of("e.idx", idx_bytes(0x0a, {1}, "x")), HasSubstr("element type 10"));
  EXPECT_THAT(error_of("f.idx", idx_bytes(0x08, {}, "x")), HasSubstr("no dimensions"));
  EXPECT_THAT(error_of("g.idx", gzip(good)), HasSubstr("end in .gz"));
  EXPECT_THAT(error_of("h.idx", idx_bytes(0x08, {4294967295, 4294967295, 4294967295}, "")),
              HasSubstr("no file can hold"));
}

TEST_F(IdxFile, DamagedCompressedFiles) {
  const std::string good = idx_bytes(0x08, {5, 2}, ramp<std::uint8_t>(10));
  EXPECT_THAT(error_of("a.idx.gz", good), HasSubstr("not gzip"));
  EXPECT_THAT(error_of("z.idx.gz", gzip(gzip(good))), HasSubstr("gzip in gzip"));
  EXPECT_THAT(error_of("b.idx.gz", gzip(idx_bytes(0x08, {1000000}, ""))), HasSubstr("promises"));
  const auto read_error = [&](const std::string& name, const std::string& bytes) {
    const std::string path = put(name, bytes);
    try {
      const IdxSource source(path);
      source.read_rows({0, source.rows()});
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  // The stored payload is incompressible enough that half of the file ends within it.
  const std::string long_file = idx_bytes(0x08, {256, 1}, ramp<std::uint8_t>(256));
  const std::string compressed = gzip(long_file);
  EXPECT_THAT(read_error("c.idx.gz", compressed.substr(0, compressed.size() / 2)),
              AllOf(HasSubstr("truncated"), HasSubstr("offset")));
  std::string flipped = compressed;
  flipped[flipped.size() - 8] ^= 1;  // the checksum
  EXPECT_THAT(read_error("d.idx.gz", flipped), HasSubstr("damaged"));
  EXPECT_THAT(read_error("e.idx.gz", gzip(long_file + "x")), HasSubstr("more inflated bytes"));
  EXPECT_THAT(read_error("f.idx.gz", gzip(long_file.substr(0, 200))),
              AllOf(HasSubstr("offset 200"), HasSubstr("68 more bytes")));
}

}  // namespace
}  // namespace eigenscale::test
