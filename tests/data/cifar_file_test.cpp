#include "eigenscale/data/cifar_file.h"

#include "data/test_files.h"

namespace eigenscale::test {
namespace {

using testing::HasSubstr;

// Record i: labels i mod 10 (and, before it, a coarse label i mod 7), then pixels i + 3 p mod 251.
std::string cifar_bytes(std::int64_t records, bool coarse) {
  std::string bytes;
  for (std::int64_t i = 0; i < records; ++i) {
    if (coarse) {
      bytes += static_cast<char>(i % 7);
    }
    bytes += static_cast<char>(i % 10);
    for (std::int64_t pixel = 0; pixel < 3072; ++pixel) {
      bytes += static_cast<char>((i + 3 * pixel) % 251);
    }
  }
  return bytes;
}

torch::Tensor images(RowRange range) {
  return (torch::arange(range.begin, range.end).view({-1, 1}) +
          3 * torch::arange(3072).view({1, -1}))
      .remainder(251)
      .to(torch::kUInt8)
      .view({range.size(), 3, 32, 32});
}

torch::Tensor labels(RowRange range, int classes) {
  return torch::arange(range.begin, range.end).remainder(classes).to(torch::kUInt8);
}

class CifarFile : public testing::Test {
 protected:
  // The directory must not go before all ranks are done with it.
  void TearDown() override { world().barrier(); }

  torch::Tensor read_own(const std::string& specification, std::int64_t records) {
    const auto source = open_sample_source(world(), specification);
    EXPECT_EQ(source->rows(), records);
    return source->read_rows(own_range(records));
  }
  std::string error_of(const std::string& specification) {
    return agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), specification); });
  }
  SharedDirectory directory_;
};

TEST_F(CifarFile, ReadsImagesAndLabels) {
  // More records than are read at a time, on every rank.
  const std::int64_t records = 4500;
  const RowRange own = own_range(records);
  const std::string ten = directory_.path() / "data_batch_1.bin";
  put_file(ten, cifar_bytes(records, false));
  EXPECT_TRUE(torch::equal(read_own(ten, records), images(own)));
  EXPECT_TRUE(torch::equal(read_own(ten + ":cifar10", records), images(own)));
  EXPECT_TRUE(torch::equal(read_own(ten + ":labels", records), labels(own, 10)));

  const std::string hundred = directory_.path() / "train.bin";
  put_file(hundred, cifar_bytes(50, true));
  const RowRange own50 = own_range(50);
  EXPECT_TRUE(torch::equal(read_own(hundred, 50), images(own50)));
  EXPECT_TRUE(torch::equal(read_own(hundred + ":labels", 50), labels(own50, 10)));
  EXPECT_TRUE(torch::equal(read_own(hundred + ":fine-labels", 50), labels(own50, 10)));
  EXPECT_TRUE(torch::equal(read_own(hundred + ":coarse-labels", 50), labels(own50, 7)));
}

TEST_F(CifarFile, SizesThatFitNoneOrBoth) {
  const std::string path = directory_.path() / "x.bin";
  put_file(path, cifar_bytes(2, false).substr(0, 6000));
  EXPECT_THAT(error_of(path), testing::AllOf(HasSubstr("6000 bytes"), HasSubstr("truncated")));
  EXPECT_THAT(error_of(path + ":cifar10"), HasSubstr("offset 3073"));
  put_file(path, "");
  if (world().rank() == 0) {
    std::filesystem::resize_file(path, std::int64_t{3073} * 3074);
  }
  world().barrier();
  EXPECT_THAT(error_of(path), HasSubstr(":cifar100"));
  EXPECT_EQ(open_sample_source(world(), path + ":cifar10")->rows(), 3074);
  EXPECT_EQ(open_sample_source(world(), path + ":cifar100:labels")->rows(), 3073);
}

TEST_F(CifarFile, UnknownAndContradictingWords) {
  const std::string path = directory_.path() / "x.bin";
  put_file(path, cifar_bytes(1, false));
  EXPECT_THAT(error_of(path + ":pictures"), HasSubstr("'pictures'"));
  EXPECT_THAT(error_of(path + ":cifar10:fine-labels"), HasSubstr("contradicts"));
  EXPECT_THAT(error_of(path + ":coarse-labels"), HasSubstr("3074"));
}

}  // namespace
}  // namespace eigenscale::test
