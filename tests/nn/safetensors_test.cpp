#include "eigenscale/nn/safetensors.h"

#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

class SafetensorsTest : public testing::Test {
 protected:
  // Reading and writing are local: every rank has a file of its own.
  std::filesystem::path path() const {
    return directory_.path() / (std::to_string(test::world().rank()) + ".safetensors");
  }

  // The directory goes with rank 0's fixture: not before all ranks are done with it.
  void TearDown() override { test::world().barrier(); }

  void write(const std::string& header, const std::string& data, std::int64_t extra_length = 0) {
    std::ofstream file(path(), std::ios::binary);
    const std::uint64_t length = header.size() + extra_length;
    file.write(reinterpret_cast<const char*>(&length), 8);
    file << header << data;
  }

  void expect_refused(const std::string& part_of_message) {
    try {
      read_safetensors(path());
      ADD_FAILURE() << "accepted; expected an error about: " << part_of_message;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(part_of_message));
      EXPECT_THAT(error.what(), testing::HasSubstr(path().string()));
    }
  }

  test::SharedDirectory directory_;
};

TEST_F(SafetensorsTest, ReadsWhatItWrote) {
  const NamedTensors tensors = {{"a.float", torch::randn({2, 3})},
                                {"b.double", torch::randn({4}, torch::kFloat64)},
                                {"c.strided", torch::randn({3, 5}).t()},
                                {"d.long", torch::arange(6).view({1, 2, 3})},
                                {"e.empty", torch::empty({0, 3})},
                                {"f.scalar", torch::tensor(2.5F)},
                                {"g.bytes", torch::arange(5).to(torch::kUInt8)}};
  write_safetensors(path(), tensors);
  const auto read = read_safetensors(path());
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(torch::equal(read.at(name), tensor)) << name;
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
  }
}

// Readers that map the file hand out pointers into it.
TEST_F(SafetensorsTest, TensorsAreAlignedToTheirElements) {
  const NamedTensors tensors = {{"a.byte", torch::arange(3).to(torch::kUInt8)},
                                {"b.double", torch::randn({4}, torch::kFloat64)},
                                {"c.half", torch::randn({3}).to(torch::kFloat16)},
                                {"d.float", torch::randn({5})},
                                {"e.double", torch::randn({1}, torch::kFloat64)}};
  write_safetensors(path(), tensors, {{"scale", "0.5"}});
  std::ifstream file(path(), std::ios::binary);
  std::uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), 8);
  EXPECT_EQ(length % 8, 0U);
  std::string header(length, ' ');
  file.read(header.data(), static_cast<std::streamsize>(length));
  const auto json = nlohmann::json::parse(header);
  EXPECT_EQ(json["__metadata__"]["scale"], "0.5");
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(json[name]["data_offsets"][0].get<std::size_t>() % tensor.element_size(), 0U) << name;
    EXPECT_TRUE(torch::equal(read_safetensors(path()).at(name), tensor)) << name;
  }
}

TEST_F(SafetensorsTest, IgnoresMetadata) {
  write(R"({"__metadata__":{"format":"pt"},"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
        "\x01\x02");
  EXPECT_TRUE(torch::equal(read_safetensors(path()).at("x"), torch::tensor({1, 2}, torch::kUInt8)));
}

TEST_F(SafetensorsTest, RefusesWhatIsBroken) {
  std::ofstream(path()) << "abc";
  expect_refused("header length needs 8");
  write("{}", "", 1);
  expect_refused("longer than the file");
  write("{\"x\": ", "");
  expect_refused("not a JSON object");
  write("[1]", "");
  expect_refused("not a JSON object");
  write(R"({"x":{"dtype":"F32","shape":[1]}})", "1234");
  expect_refused("data_offsets");
  write(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", "1234");
  expect_refused("3 data offsets");
  write(R"({"x":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", "1234");
  expect_refused("unknown element type 'F33'");
  write(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "123");
  expect_refused("there are 3 bytes of data");
  write(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", "1234");
  expect_refused("claims bytes -4 to 0");
  write(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234");
  expect_refused("not the size of its shape");
  write(R"({"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234");
  expect_refused("not the size of its shape");
  write(R"({"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", "");
  expect_refused("not the size of its shape");
  write(R"({"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
        R"("y":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
        "1234");
  expect_refused("overlap");
  std::filesystem::remove(path());
  expect_refused("cannot be opened");
}

TEST_F(SafetensorsTest, LoadsParametersOnlyWhenAllFit) {
  torch::nn::Linear layer(3, 2);
  const auto before = layer->weight.detach().clone();
  const NamedTensors good = {{"weight", torch::ones({2, 3}, torch::kFloat64)},
                             {"bias", torch::zeros({2})}};
  const auto expect_refused_naming = [&](const NamedTensors& tensors,
                                         const std::vector<std::string>& names) {
    try {
      load_parameters(*layer, tensors, "file.safetensors");
      ADD_FAILURE() << "accepted";
    } catch (const InputError& error) {
      for (const auto& name : names) {
        EXPECT_THAT(error.what(), testing::HasSubstr(name));
      }
    }
    EXPECT_TRUE(torch::equal(layer->weight, before));
  };
  expect_refused_naming({{"weight", good.at("weight")}}, {"'bias' is missing"});
  expect_refused_naming({{"weight", torch::ones({3, 2})}, {"bias", torch::ones(3)}},
                        {"'weight' has shape [3, 2], expected [2, 3]", "'bias' has shape"});
  auto extra = good;
  extra["scale"] = torch::ones(1);
  expect_refused_naming(extra, {"'scale' is not a parameter"});
  load_parameters(*layer, good, "file.safetensors");
  EXPECT_TRUE(torch::equal(layer->weight, torch::ones({2, 3})));
}

}  // namespace
}  // namespace eigenscale
