#include "eigenscale/data/npy_file.h"

#include "data/test_files.h"

namespace eigenscale::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Element (i, j, k) of the 5 x 2 x 3 test array, exact in every type.
int value_at(std::int64_t i, std::int64_t j, std::int64_t k) {
  return static_cast<int>(6 * i + 3 * j + k);
}

torch::Tensor expected_array() { return torch::arange(30, torch::kFloat64).view({5, 2, 3}); }

template <typename T>
std::string elements(std::endian order, bool fortran_order) {
  std::string bytes;
  for (int position = 0; position < 30; ++position) {
    const int i = fortran_order ? position % 5 : position / 6;
    const int j = fortran_order ? position / 5 % 2 : position / 3 % 2;
    const int k = fortran_order ? position / 10 : position % 3;
    append(bytes, static_cast<T>(value_at(i, j, k)), order);
  }
  return bytes;
}

// Every combination of byte order, memory order and format version of one element type.
template <typename T>
void expect_read(const std::string& kind, torch::ScalarType type) {
  const SharedDirectory directory;
  int number = 0;
  for (const auto order : {std::endian::little, std::endian::big}) {
    for (const bool fortran_order : {false, true}) {
      for (const int major : {1, 2, 3}) {
        const char mark = sizeof(T) == 1 ? '|' : order == std::endian::little ? '<' : '>';
        const std::string dictionary =
            npy_dictionary(mark + kind + std::to_string(sizeof(T)), "(5, 2, 3)", fortran_order);
        const auto path = directory.path() / (std::to_string(number++) + ".npy");
        put_file(path, npy_bytes(dictionary, elements<T>(order, fortran_order), major));
        SCOPED_TRACE(dictionary + " version " + std::to_string(major));

        const auto source = open_sample_source(world(), path.string());
        EXPECT_EQ(source->rows(), 5);
        EXPECT_EQ(source->row_shape(), (std::vector<std::int64_t>{2, 3}));
        EXPECT_EQ(source->scalar_type(), type);
        const RowRange own = own_range(5);
        const auto rows = source->read_rows(own);
        EXPECT_EQ(rows.scalar_type(), type);
        EXPECT_TRUE(rows.is_contiguous());
        EXPECT_TRUE(
            torch::equal(rows.to(torch::kFloat64), expected_array().slice(0, own.begin, own.end)));
        EXPECT_TRUE(torch::equal(source->read_rows({1, 4}).to(torch::kFloat64),
                                 expected_array().slice(0, 1, 4)));
      }
    }
  }
  world().barrier();
}

TEST(NpyFile, ReadsSignedIntegers) {
  expect_read<std::int8_t>("i", torch::kInt8);
  expect_read<std::int16_t>("i", torch::kInt16);
  expect_read<std::int32_t>("i", torch::kInt32);
  expect_read<std::int64_t>("i", torch::kInt64);
}

TEST(NpyFile, ReadsUnsignedIntegers) {
  expect_read<std::uint8_t>("u", torch::kUInt8);
  expect_read<std::uint16_t>("u", torch::kInt32);
  expect_read<std::uint32_t>("u", torch::kInt64);
  expect_read<std::uint64_t>("u", torch::kInt64);
}

TEST(NpyFile, ReadsFloatingPoint) {
  expect_read<c10::Half>("f", torch::kFloat16);
  expect_read<float>("f", torch::kFloat32);
  expect_read<double>("f", torch::kFloat64);
}

TEST(NpyFile, ReadsExtremesOfIntegers) {
  const SharedDirectory directory;
  std::string bytes;
  append(bytes, std::uint16_t{65535}, std::endian::big);
  put_file(directory.path() / "a.npy", npy_bytes(npy_dictionary(">u2", "(1,)"), bytes));
  EXPECT_EQ(NpySource(directory.path() / "a.npy").read_rows({0, 1}).item<int>(), 65535);

  bytes.clear();
  append(bytes, std::uint32_t{4294967295}, std::endian::little);
  put_file(directory.path() / "b.npy", npy_bytes(npy_dictionary("<u4", "(1,)"), bytes));
  EXPECT_EQ(NpySource(directory.path() / "b.npy").read_rows({0, 1}).item<std::int64_t>(),
            4294967295);

  bytes.clear();
  append(bytes, ~std::uint64_t{0}, std::endian::little);
  put_file(directory.path() / "c.npy", npy_bytes(npy_dictionary("<u8", "(1,)"), bytes));
  EXPECT_THROW(NpySource(directory.path() / "c.npy").read_rows({0, 1}), InputError);
  world().barrier();
}

TEST(NpyFile, ReadsBool) {
  const SharedDirectory directory;
  put_file(directory.path() / "b.npy",
           npy_bytes(npy_dictionary("|b1", "(4,)"), std::string("\1\0\0\1", 4)));
  const auto rows = NpySource(directory.path() / "b.npy").read_rows({0, 4});
  EXPECT_TRUE(torch::equal(rows, torch::tensor({true, false, false, true})));
  world().barrier();
}

TEST(NpyFile, ReadsFortranOrderInSeveralStrips) {
  // 3000 x 700 floats are 8.4 MB, two strips and a bit when all rows are read at once.
  const SharedDirectory directory;
  const auto array = torch::arange(3000 * 700, torch::kFloat32).view({3000, 700});
  const auto columns = array.t().contiguous();
  put_file(directory.path() / "f.npy", npy_bytes(npy_dictionary("<f4", "(3000, 700)", true),
                                                 {static_cast<const char*>(columns.data_ptr()),
                                                  static_cast<std::size_t>(columns.nbytes())}));
  const NpySource source(directory.path() / "f.npy");
  EXPECT_TRUE(torch::equal(source.read_rows({0, 3000}), array));
  EXPECT_TRUE(torch::equal(source.read_rows({17, 2999}), array.slice(0, 17, 2999)));
  EXPECT_EQ(source.read_rows({3000, 3000}).sizes(), (std::vector<std::int64_t>{0, 700}));
  world().barrier();
}

TEST(NpyFile, AcceptsHeadersOfOtherWriters) {
  const SharedDirectory directory;
  std::string bytes;
  append(bytes, 1.5F, std::endian::native);
  append(bytes, 2.5F, std::endian::native);
  for (const std::string dictionary :
       {"{\"shape\": (2L,), \"descr\":\"=f4\",\"fortran_order\":False}",
        "{'fortran_order': False, 'shape': (2,), 'descr': '<f4'}"}) {
    put_file(directory.path() / "a.npy", npy_bytes(dictionary, bytes));
    EXPECT_TRUE(torch::equal(NpySource(directory.path() / "a.npy").read_rows({0, 2}),
                             torch::tensor({1.5F, 2.5F})));
    world().barrier();
  }
}

class NpyFileErrors : public testing::Test {
 protected:
  // The directory must not go before all ranks are done with it.
  void TearDown() override { world().barrier(); }

  // The agreed message for a file with these bytes.
  std::string message_for(const std::string& bytes) {
    const auto path = directory_.path() / (std::to_string(number_++) + ".npy");
    put_file(path, bytes);
    const std::string message =
        agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), path.string()); });
    EXPECT_THAT(message, HasSubstr(path.string()));
    return message;
  }

  SharedDirectory directory_;
  int number_ = 0;
};

TEST_F(NpyFileErrors, TruncatedFileNamesOffsetAndExpectation) {
  std::string bytes = npy_of("(3, 2)", {0, 1, 2, 3, 4, 5});
  const std::string complete = std::to_string(bytes.size());
  bytes.resize(bytes.size() - 3);
  EXPECT_THAT(message_for(bytes),
              AllOf(HasSubstr("truncated"), HasSubstr("offset " + std::to_string(bytes.size())),
                    HasSubstr("promises " + complete)));
}

TEST_F(NpyFileErrors, LongerFileIsRefused) {
  EXPECT_THAT(message_for(npy_of("(2,)", {0, 1, 2})), HasSubstr("promises only"));
}

TEST_F(NpyFileErrors, HeaderCutOffIsRefused) {
  const std::string bytes = npy_of("(2,)", {0, 1});
  EXPECT_THAT(message_for(bytes.substr(0, 30)), HasSubstr("truncated"));
  EXPECT_THAT(message_for(bytes.substr(0, 7)), HasSubstr("only 7 bytes"));
  EXPECT_THAT(message_for(""), HasSubstr("only 0 bytes"));
}

TEST_F(NpyFileErrors, WrongMagicAndVersion) {
  std::string bytes = npy_of("(2,)", {0, 1});
  bytes[0] = 'P';
  EXPECT_THAT(message_for(bytes), HasSubstr("not a NumPy file"));
  bytes = npy_of("(2,)", {0, 1});
  bytes[6] = '\4';
  EXPECT_THAT(message_for(bytes), HasSubstr("version 4.0"));
}

TEST_F(NpyFileErrors, UnsupportedTypes) {
  for (const std::string type : {"<c8", "<f3", "|S5", "<U3", "|O", "<M8[ns]", "|b2", "<f1", "f4"}) {
    EXPECT_THAT(message_for(npy_bytes(npy_dictionary(type, "(1,)"), std::string(64, '\0'))),
                HasSubstr("NumPy type '" + type + "'"));
  }
  EXPECT_THAT(message_for(npy_bytes("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': "
                                    "(1,), }",
                                    "0000")),
              HasSubstr("structured"));
}

TEST_F(NpyFileErrors, DamagedDictionaries) {
  for (const std::string dictionary :
       {"", "{", "{'descr': '<f4', 'shape': (1,), }", "{'descr': '<f4",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (x,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}"}) {
    EXPECT_THAT(message_for(npy_bytes(dictionary, "0000")), HasSubstr("header")) << dictionary;
  }
}

TEST_F(NpyFileErrors, ImpossibleShapes) {
  EXPECT_THAT(message_for(npy_bytes(npy_dictionary("<f4", "(-1, 2)"), "")), HasSubstr("damaged"));
  EXPECT_THAT(message_for(npy_bytes(npy_dictionary("<f8", "(4611686018427387904, 8)"), "")),
              HasSubstr("damaged"));
  EXPECT_THAT(message_for(npy_bytes(npy_dictionary("<f4", "()"), "0000")),
              HasSubstr("single number"));
}

TEST_F(NpyFileErrors, MissingFileDirectoryAndUnknownFormat) {
  const auto open = [&](const std::filesystem::path& path) {
    return agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), path.string()); });
  };
  EXPECT_THAT(open(directory_.path() / "none.npy"), HasSubstr("No such file"));
  if (world().rank() == 0) {
    std::filesystem::create_directory(directory_.path() / "d.npy");
  }
  world().barrier();
  EXPECT_THAT(open(directory_.path() / "d.npy"), HasSubstr("a directory"));
  EXPECT_THAT(open("x.csv"), AllOf(HasSubstr("x.csv"), HasSubstr(".npy"), HasSubstr("IDX")));
}

TEST_F(NpyFileErrors, FileThatChangesItsSizeWhileOpen) {
  const auto path = directory_.path() / "changes.npy";
  const std::string bytes = npy_of("(4,)", {0, 1, 2, 3});
  put_file(path, bytes);
  const NpySource source(path);
  world().barrier();
  for (const std::string& other : {bytes.substr(0, bytes.size() - 8), bytes + "more"}) {
    put_file(path, other);
    try {
      source.read_rows({0, 2});
      ADD_FAILURE() << "read a file that somebody writes";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("changed"), HasSubstr(std::to_string(bytes.size())),
                                      HasSubstr("now it has " + std::to_string(other.size()))));
    }
    world().barrier();
  }
}

}  // namespace
}  // namespace eigenscale::test
