#include "eigenscale/data/samples.h"

#include <limits>

#include "data/test_files.h"
#include "eigenscale/data/concatenated_source.h"
#include "eigenscale/data/label_names.h"
#include "eigenscale/data/labelled_samples.h"
#include "eigenscale/data/labels.h"
#include "eigenscale/data/npy_file.h"

namespace eigenscale::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class Loading : public testing::Test {
 protected:
  // The directory must not go before all ranks are done with it.
  void TearDown() override { world().barrier(); }

  std::string put(const std::string& bytes) {
    const auto path = directory_.path() / (std::to_string(number_++) + ".npy");
    put_file(path, bytes);
    return path;
  }
  std::string sample_error(const std::string& path, torch::ScalarType type = torch::kFloat32) {
    return agreed_error(ExitCode::kInput, [&] { load_samples(world(), path, type); });
  }
  std::string label_error(const std::string& path, std::int64_t samples) {
    return agreed_error(ExitCode::kInput,
                        [&] { load_labels(world(), path, RowPartition(samples, world().size())); });
  }
  SharedDirectory directory_;
  int number_ = 0;
};

TEST_F(Loading, EachRankGetsItsRows) {
  // 5 rows on 4 ranks are 2, 2, 1, 0; one row leaves all ranks but the first without.
  for (const int count : {5, 1}) {
    std::vector<double> values(count * 2);
    std::iota(values.begin(), values.end(), 0);
    const std::string path = put(npy_of("(" + std::to_string(count) + ", 2)", values));
    for (const auto type : {torch::kFloat32, torch::kFloat64}) {
      const Samples samples = load_samples(world(), path, type);
      const RowRange own = own_range(count);
      EXPECT_EQ(samples.partition.rows(), count);
      EXPECT_EQ(samples.shape, std::vector<std::int64_t>{2});
      EXPECT_EQ(samples.rows.scalar_type(), type);
      EXPECT_TRUE(torch::equal(
          samples.rows,
          torch::arange(count * 2).view({count, 2}).slice(0, own.begin, own.end).to(type)));
    }
  }
}

TEST_F(Loading, ChunksJoinWithoutSeams) {
  // 3 MiB per row: five rows to a chunk.
  const std::int64_t count = 23;
  const std::int64_t size = std::int64_t{768} << 10;
  std::string bytes;
  for (std::int64_t row = 0; row < count; ++row) {
    bytes += std::string(size, static_cast<char>(row));
  }
  const std::string path = put(npy_bytes(npy_dictionary("|u1", "(23, 786432)"), bytes));
  const Samples samples = load_samples(world(), path, torch::kFloat32);
  const RowRange own = own_range(count);
  EXPECT_TRUE(torch::equal(samples.rows, torch::arange(own.begin, own.end)
                                             .to(torch::kFloat32)
                                             .view({own.size(), 1})
                                             .expand({own.size(), size})));
}

TEST_F(Loading, ThreadsOfARankReadPartsOfAPiece) {
  // Nine megabytes: several parts of a read, two of the look at its values, neither a whole one
  // last.
  const std::int64_t count = (std::int64_t{1} << 21) + 200000;
  const auto values = torch::arange(count, torch::kFloat32).mul_(0.5);
  const auto put_values = [&](const torch::Tensor& rows) {
    return put(npy_bytes(npy_dictionary("<f4", "(" + std::to_string(count) + ", 1)"),
                         std::string(static_cast<const char*>(rows.data_ptr()), rows.nbytes())));
  };
  const std::string path = put_values(values);
  const int before = torch::get_num_threads();
  for (const int threads : {1, 3}) {
    torch::set_num_threads(threads);
    const NpySource source(path);
    EXPECT_TRUE(torch::equal(read_samples(source, {3, count}, torch::kFloat32, 1, false).view({-1}),
                             values.narrow(0, 3, count - 3)));
    for (const std::int64_t place : {std::int64_t{5}, count - 7}) {
      auto bad = values.clone();
      bad[place] = kNaN;
      const NpySource of_bad(put_values(bad));
      try {
        read_samples(of_bad, {0, count}, torch::kFloat32, 1, false);
        ADD_FAILURE() << "a value that is not finite was read";
      } catch (const InputError& error) {
        EXPECT_THAT(error.what(),
                    HasSubstr("row " + std::to_string(place) + ", element (0) is nan"));
      }
    }
  }
  torch::set_num_threads(before);
}

TEST_F(Loading, ScalesOnlyWhenAsked) {
  const std::string path = put(npy_bytes(npy_dictionary("|u1", "(3,)"), {'\0', '\7', '\xff'}));
  const RowRange own = own_range(3);
  EXPECT_TRUE(torch::equal(load_samples(world(), path, torch::kFloat32).rows,
                           torch::tensor({0.F, 7.F, 255.F}).slice(0, own.begin, own.end)));
  // Rounded once, from double precision.
  EXPECT_TRUE(torch::equal(
      load_samples(world(), path, torch::kFloat32, 1.0 / 255).rows,
      torch::tensor({0.F, static_cast<float>(7 * (1.0 / 255)), 1.F}).slice(0, own.begin, own.end)));
}

TEST_F(Loading, BytesStayBytes) {
  const std::string path = put(npy_bytes(npy_dictionary("|u1", "(3,)"), {'\0', '\7', '\xff'}));
  const RowRange own = own_range(3);
  EXPECT_TRUE(torch::equal(load_samples(world(), path, torch::kUInt8).rows,
                           torch::tensor({0, 7, 255}, torch::kUInt8).slice(0, own.begin, own.end)));
}

TEST_F(Loading, ValuesThatAreNotFiniteAreNamed) {
  std::vector<double> values(5 * 6, 1.0);
  values[4 * 6 + 5] = kNaN;
  EXPECT_THAT(sample_error(put(npy_of("(5, 2, 3)", values))),
              AllOf(HasSubstr(".npy' row 4, element (1, 2) is"), HasSubstr("nan")));
  values[4 * 6 + 5] = 0;
  values[6] = -kInfinity;
  EXPECT_THAT(sample_error(put(npy_of("(5, 2, 3)", values))),
              HasSubstr("row 1, element (0, 0) is -inf"));
  EXPECT_THAT(sample_error(put(npy_of("(3,)", {0, 1, kInfinity}))), HasSubstr("row 2 is inf"));
  // Found on two ranks: the message of the first counts.
  EXPECT_THAT(sample_error(put(npy_of("(4,)", {0, kNaN, 2, kNaN}))), HasSubstr("row 1 is"));
}

TEST_F(Loading, OverflowOfTheRequestedTypeIsNamed) {
  const std::string path = put(npy_of("(2,)", {1e300, 1}));
  EXPECT_THAT(sample_error(path),
              AllOf(HasSubstr("row 0 is 1e+300"), HasSubstr("inf"), HasSubstr("Float")));
  EXPECT_EQ(load_samples(world(), path, torch::kFloat64).partition.rows(), 2);
}

TEST_F(Loading, NoSamplesAreRefused) {
  EXPECT_THAT(sample_error(put(npy_of("(0, 4)", {}))), HasSubstr("no samples"));
  EXPECT_THAT(sample_error(put(npy_of("(4, 0)", {}))), HasSubstr("without elements"));
}

TEST_F(Loading, LabelsOfAnyType) {
  const RowPartition partition(5, world().size());
  const RowRange own = own_range(5);
  const auto expected =
      torch::tensor({0, 2, 1, 2, 300}, torch::kInt64).slice(0, own.begin, own.end);
  std::string integers;
  for (const int label : {0, 2, 1, 2, 300}) {
    append(integers, static_cast<std::int16_t>(label), std::endian::big);
  }
  std::string halves;  // 0, 2, 1, 2, 300 in half precision
  for (const int bits : {0x0000, 0x4000, 0x3c00, 0x4000, 0x5cb0}) {
    append(halves, static_cast<std::uint16_t>(bits), std::endian::little);
  }
  for (const std::string& bytes :
       {npy_of("(5,)", {0, 2, 1, 2, 300}), npy_bytes(npy_dictionary("<f2", "(5,)"), halves),
        npy_of("(5, 1)", {0, 2, 1, 2, 300}), npy_bytes(npy_dictionary(">i2", "(5,)"), integers),
        npy_bytes(npy_dictionary(">u2", "(5, 1)"), integers)}) {
    const auto labels = load_labels(world(), put(bytes), partition);
    EXPECT_EQ(labels.scalar_type(), torch::kInt64);
    EXPECT_TRUE(torch::equal(labels, expected));
  }
}

TEST_F(Loading, LabelsAreNames) {
  const RowPartition partition(6, world().size());
  const RowRange own = own_range(6);
  std::string integers;
  for (const std::int64_t label : {std::int64_t{1} << 62, std::int64_t{20240101}, std::int64_t{-1},
                                   std::int64_t{-7}, std::int64_t{20240101}, std::int64_t{-1}}) {
    append(integers, label, std::endian::little);
  }
  const std::string path = put(npy_bytes(npy_dictionary("<i8", "(6,)"), integers));
  const auto labels = load_label_names(world(), {path}, partition);
  EXPECT_EQ(labels.names, (std::vector<std::int64_t>{-7, 20240101, std::int64_t{1} << 62}));
  EXPECT_TRUE(torch::equal(
      labels.indices,
      torch::tensor({2, 1, -1, 0, 1, -1}, torch::kInt64).slice(0, own.begin, own.end)));
  const auto refused = [&](const torch::Tensor& values) {
    return agreed_error(ExitCode::kInput, [&] { name_labels(world(), values, "y.npy"); });
  };
  EXPECT_THAT(refused(torch::full({3}, -1, torch::kInt64)), HasSubstr("no label but -1"));
  // Together: the ranks have different ones.
  EXPECT_THAT(refused(torch::arange(2001) * world().size() + world().rank()),
              HasSubstr("more than 2000 different labels"));
  const auto own_names = torch::arange(2000).slice(0, world().rank(), 2000, world().size());
  EXPECT_EQ(std::ssize(name_labels(world(), own_names.contiguous(), "y.npy").names), 2000);
}

TEST_F(Loading, FilesOneBehindTheOther) {
  const std::string bytes =
      put(npy_bytes(npy_dictionary("|u1", "(2, 2)"), {'\1', '\2', '\3', '\4'}));
  const std::string none = put(npy_of("(0, 2)", {}));
  const std::string doubles = put(npy_of("(3, 2)", {5, 6, 7, 8, 9, 0.1}));
  const Samples samples = load_samples(world(), std::vector{bytes, none, doubles}, torch::kFloat64);
  const RowRange own = own_range(5);
  const auto all = torch::tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 0.1}).view({5, 2});
  EXPECT_EQ(samples.partition.rows(), 5);
  EXPECT_TRUE(
      torch::allclose(samples.rows, all.to(torch::kFloat64).slice(0, own.begin, own.end), 0, 1e-6));
  const auto source = open_sample_sources(world(), {bytes, none, doubles});
  EXPECT_EQ(source->scalar_type(), torch::kFloat64);
  EXPECT_EQ(source->read_rows({1, 4}).sizes(), c10::IntArrayRef({3, 2}));
  const std::string wide = put(npy_of("(1, 3)", {1, 2, 3}));
  EXPECT_THAT(agreed_error(ExitCode::kInput,
                           [&] {
                             load_samples(world(), std::vector{bytes, wide}, torch::kFloat32);
                           }),
              AllOf(HasSubstr(wide), HasSubstr("[3]"), HasSubstr(bytes), HasSubstr("[2]")));
  // A value is named by its own file and its row there.
  const std::string bad = put(npy_of("(2, 2)", {0, 0, 0, kNaN}));
  EXPECT_THAT(agreed_error(ExitCode::kInput,
                           [&] {
                             load_samples(world(), std::vector{bytes, bad}, torch::kFloat32);
                           }),
              HasSubstr("'" + bad + "' row 1, element (1)"));
  EXPECT_TRUE(torch::equal(
      load_labels(world(), {put(npy_of("(2,)", {3, 4})), put(npy_of("(3,)", {5, 6, 7}))},
                  RowPartition(5, world().size())),
      torch::arange(3, 8).slice(0, own.begin, own.end)));
}

TEST_F(Loading, SingleNumbersAreNoSamples) {
  const std::string path = put(npy_of("(3,)", {0, 1, 2}));
  EXPECT_THAT(agreed_error(ExitCode::kInput, [&] { load_labelled_samples(world(), path, path); }),
              AllOf(HasSubstr(path), HasSubstr("N x 1")));
  const auto column = put(npy_of("(3, 1)", {0, 1, 2}));
  EXPECT_EQ(load_labelled_samples(world(), column, path).shape, std::vector<std::int64_t>{1});
}

TEST(CommonType, HoldsEveryValueOfBoth) {
  EXPECT_EQ(common_type(torch::kUInt8, torch::kUInt8), torch::kUInt8);
  EXPECT_EQ(common_type(torch::kUInt8, torch::kInt8), torch::kInt16);
  EXPECT_EQ(common_type(torch::kUInt8, torch::kInt64), torch::kInt64);
  EXPECT_EQ(common_type(torch::kFloat32, torch::kUInt8), torch::kFloat32);
  EXPECT_EQ(common_type(torch::kInt16, torch::kFloat16), torch::kFloat32);
  EXPECT_EQ(common_type(torch::kFloat32, torch::kInt32), torch::kFloat64);
  EXPECT_EQ(common_type(torch::kFloat32, torch::kFloat64), torch::kFloat64);
}

TEST_F(Loading, NamesOfAnyLength) {
  // std::regex, which once told IDX files by their name, recurses for every character.
  const std::string name = std::string(40000, 'x') + "-idx3-ubyte";
  agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), name); });
  EXPECT_THAT(
      agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), std::string(40000, 'y')); }),
      HasSubstr("cannot tell the format"));
  for (const char* idx :
       {"a.idx", "a-idx1", "a.idx3.gz", "a-idx3-int", "a-idx3-ubyte.gz", "b-ubyte"}) {
    EXPECT_THAT(agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), idx); }),
                HasSubstr("cannot open"));
  }
  for (const char* other : {"a.idx-", "idx3", "a-idxx", "a-idx3-", "a-idx3-a-b", "a-idx-ab"}) {
    EXPECT_THAT(agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), other); }),
                HasSubstr("cannot tell the format"));
  }
}

TEST_F(Loading, WrongLabelsAreNamed) {
  EXPECT_THAT(label_error(put(npy_of("(3,)", {0, 1, 2})), 5),
              AllOf(HasSubstr("3 labels"), HasSubstr("5 samples")));
  EXPECT_THAT(label_error(put(npy_of("(2, 2)", {0, 1, 2, 3})), 2), HasSubstr("not a list"));
  EXPECT_THAT(label_error(put(npy_of("(3,)", {0, 1, -2})), 3), HasSubstr("row 2 is -2"));
  EXPECT_THAT(label_error(put(npy_of("(3,)", {0, 1.5, 2})), 3), HasSubstr("row 1 is 1.5"));
  EXPECT_THAT(label_error(put(npy_of("(3,)", {kNaN, 1, 2})), 3), HasSubstr("row 0 is"));
  EXPECT_THAT(label_error(put(npy_of("(3,)", {kInfinity, 1, 2})), 3), HasSubstr("row 0 is inf"));
  EXPECT_THAT(label_error(put(npy_bytes(npy_dictionary("|i1", "(2,)"), "\1\xff")), 2),
              HasSubstr("row 1 is -1"));
}

}  // namespace
}  // namespace eigenscale::test
