#include "eigenscale/data/hdf5_file.h"

#include <hdf5.h>

#include "data/test_files.h"
#include "eigenscale/data/samples.h"

namespace eigenscale::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// [collective] Rank 0 makes a file with one 3 x 2 dataset "x" of type `stored` by HDF5's own serial
// interface, from `values` of type `memory`.
void put_hdf5(const std::filesystem::path& path, hid_t stored, hid_t memory, const void* values) {
  if (world().rank() == 0) {
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t shape[] = {3, 2};
    const hid_t space = H5Screate_simple(2, shape, nullptr);
    const hid_t dataset =
        H5Dcreate2(file, "x", stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (values != nullptr) {
      H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    }
    H5Dclose(dataset);
    H5Sclose(space);
    H5Fclose(file);
  }
  world().barrier();
}

class Hdf5File : public testing::Test {
 protected:
  // The directory must not go before all ranks are done with it.
  void TearDown() override { world().barrier(); }

  std::string error_of(const std::string& specification) {
    return agreed_error(ExitCode::kInput, [&] { open_sample_source(world(), specification); });
  }
  SharedDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "x.h5";
};

TEST_F(Hdf5File, RoundTripsEveryTypeWithRaggedRows) {
  const std::int64_t rank = world().rank();
  const std::int64_t first = rank * (rank + 1) / 2 - rank;  // rank r has r rows
  const std::int64_t total = std::int64_t{world().size()} * (world().size() - 1) / 2;
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kUInt8, torch::kInt8,
                          torch::kInt16, torch::kInt32, torch::kInt64}) {
    SCOPED_TRACE(torch::toString(type));
    const auto all = torch::arange(total * 6, torch::kInt64).view({total, 2, 3}).to(type);
    write_hdf5(world(), path_, "a/b", all.slice(0, first, first + rank));
    const auto source = open_sample_source(world(), path_.string() + ":a/b");
    EXPECT_EQ(source->rows(), total);
    EXPECT_EQ(source->row_shape(), (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(source->scalar_type(), type);
    EXPECT_TRUE(torch::equal(source->read_rows({0, total}), all));
    world().barrier();
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path_.parent_path()), {}), 1);
}

TEST_F(Hdf5File, LoadsSamplesByRank) {
  const auto all = torch::arange(10, torch::kFloat64).view({5, 2});
  const RowRange own = own_range(5);
  write_hdf5(world(), path_, "x", all.slice(0, own.begin, own.end));
  const Samples samples = load_samples(world(), path_.string() + ":x", torch::kFloat32, 2);
  EXPECT_TRUE(
      torch::equal(samples.rows, (2 * all).slice(0, own.begin, own.end).to(torch::kFloat32)));
}

TEST_F(Hdf5File, ReadsForeignByteOrdersAndUnsignedTypes) {
  const std::int32_t values[] = {0, 1, 2, 3, 4, 70000};
  const auto expected = torch::tensor({0, 1, 2, 3, 4, 70000}).view({3, 2});
  const auto read = [&](torch::ScalarType type) {
    const auto source = open_sample_source(world(), path_.string() + ":x");
    EXPECT_EQ(source->scalar_type(), type);
    EXPECT_TRUE(torch::equal(source->read_rows({0, 3}), expected.to(type)));
    EXPECT_TRUE(torch::equal(source->read_rows({1, 3}), expected.to(type).slice(0, 1)));
    world().barrier();
  };
  put_hdf5(path_, H5T_STD_I32BE, H5T_NATIVE_INT32, values);
  read(torch::kInt32);
  put_hdf5(path_, H5T_STD_U32BE, H5T_NATIVE_INT32, values);
  read(torch::kInt64);
  put_hdf5(path_, H5T_IEEE_F64BE, H5T_NATIVE_INT32, values);
  read(torch::kFloat64);
}

TEST_F(Hdf5File, BoolOfH5py) {
  const hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
  const std::int8_t no = 0;
  const std::int8_t yes = 1;
  H5Tenum_insert(type, "FALSE", &no);
  H5Tenum_insert(type, "TRUE", &yes);
  const std::int8_t values[] = {0, 1, 1, 0, 1, 0};
  put_hdf5(path_, type, type, values);
  H5Tclose(type);
  const auto source = open_sample_source(world(), path_.string() + ":x");
  EXPECT_EQ(source->scalar_type(), torch::kBool);
  EXPECT_TRUE(torch::equal(source->read_rows({0, 3}),
                           torch::tensor({0, 1, 1, 0, 1, 0}).view({3, 2}).to(torch::kBool)));
}

// [collective] A virtual dataset "x" of 3 x 2 doubles in `path`: those of "x" in `part`.
void put_virtual(const std::filesystem::path& path, const std::string& part) {
  if (world().rank() == 0) {
    const hsize_t shape[] = {3, 2};
    const hid_t space = H5Screate_simple(2, shape, nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_virtual(creation, space, part.c_str(), "x", space);
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(H5Dcreate2(file, "x", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, creation, H5P_DEFAULT));
    H5Fclose(file);
    H5Pclose(creation);
    H5Sclose(space);
  }
  world().barrier();
}

TEST_F(Hdf5File, VirtualDatasets) {
  const double values[] = {0, 1, 2, 3, 4, 5};
  put_hdf5(directory_.path() / "part.h5", H5T_NATIVE_DOUBLE, H5T_NATIVE_DOUBLE, values);
  put_virtual(path_, "part.h5");
  const auto source = open_sample_source(world(), path_.string() + ":x");
  EXPECT_TRUE(
      torch::equal(source->read_rows({1, 3}), torch::arange(2, 6, torch::kFloat64).view({2, 2})));
  EXPECT_FALSE(source->notices_writes());
  EXPECT_TRUE(open_sample_source(world(), (directory_.path() / "part.h5").string() + ":x")
                  ->notices_writes());
  put_virtual(directory_.path() / "broken.h5", "gone.h5");
  EXPECT_THAT(error_of((directory_.path() / "broken.h5").string() + ":x"),
              AllOf(HasSubstr("virtual"), HasSubstr("gone.h5")));
}

std::size_t unchanged(unsigned, std::size_t, const unsigned*, std::size_t bytes, std::size_t*,
                      void**) {
  return bytes;
}

TEST_F(Hdf5File, AFilterThatIsNotInstalledIsNamed) {
  constexpr H5Z_filter_t kFilter = 300;
  if (world().rank() == 0) {
    const H5Z_class2_t filter{H5Z_CLASS_T_VERS, kFilter, 1,       1,
                              "squeeze",        nullptr, nullptr, unchanged};
    H5Zregister(&filter);
    const hsize_t shape[] = {3, 2};
    const hid_t space = H5Screate_simple(2, shape, nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 2, shape);
    H5Pset_filter(creation, kFilter, H5Z_FLAG_MANDATORY, 0, nullptr);
    const hid_t file = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t dataset =
        H5Dcreate2(file, "x", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    const double values[] = {0, 1, 2, 3, 4, 5};
    H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(dataset);
    H5Fclose(file);
    H5Pclose(creation);
    H5Sclose(space);
    EXPECT_GE(H5Zunregister(kFilter), 0);
  }
  world().barrier();
  EXPECT_THAT(agreed_error(ExitCode::kInput,
                           [&] { load_samples(world(), path_.string() + ":x", torch::kFloat32); }),
              AllOf(HasSubstr("filter 'squeeze' (number 300)"), HasSubstr("not installed")));
}

TEST_F(Hdf5File, BadFilesAndDatasets) {
  EXPECT_THAT(error_of(path_.string() + ":x"), HasSubstr("No such file"));
  EXPECT_THAT(error_of(path_.string()), HasSubstr("name of a dataset"));
  put_file(path_, "this is not HDF5");
  EXPECT_THAT(error_of(path_.string() + ":x"), AllOf(HasSubstr("as HDF5"), HasSubstr(path_)));
  const auto rows = torch::zeros({4, 2});
  write_hdf5(world(), path_, "group/x", rows);
  EXPECT_THAT(error_of(path_.string() + ":y"), HasSubstr("no dataset 'y'"));
  EXPECT_THAT(error_of(path_.string() + ":group"), HasSubstr("no dataset 'group'"));
  if (world().rank() == 0) {
    std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 10);
  }
  world().barrier();
  EXPECT_THAT(error_of(path_.string() + ":group/x"), HasSubstr("truncated"));
  world().barrier();
  const hid_t text = H5Tcopy(H5T_C_S1);
  put_hdf5(path_, text, text, nullptr);
  H5Tclose(text);
  EXPECT_THAT(error_of(path_.string() + ":x"),
              AllOf(HasSubstr("not numbers"), HasSubstr("text, 1 bytes each")));
}

TEST_F(Hdf5File, FailedWritesLeaveNoFile) {
  const auto write_error = [&](const std::filesystem::path& path, const std::string& dataset,
                               const torch::Tensor& rows) {
    return agreed_error(ExitCode::kOutput, [&] { write_hdf5(world(), path, dataset, rows); });
  };
  const auto rows = torch::zeros({2, 2});
  EXPECT_THAT(write_error(directory_.path() / "none" / "x.h5", "x", rows),
              AllOf(HasSubstr("none"), HasSubstr("No such file")));
  EXPECT_THAT(write_error(path_, "x", rows.to(torch::kFloat16)), HasSubstr("half precision"));
  // "." names the root group, which is no dataset.
  EXPECT_THAT(write_error(path_, ".", rows), HasSubstr("create the dataset"));
  world().barrier();
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  world().barrier();
}

}  // namespace
}  // namespace eigenscale::test
