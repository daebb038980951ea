#include "eigenscale/core/configuration_file.h"

#include <fstream>

#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

std::vector<ConfigurationEntry> entries(const std::string& text) {
  const test::SharedDirectory directory;
  const auto path = directory.path() / "run.ini";
  std::ofstream(path) << text;
  return read_configuration(path);
}

TEST(ConfigurationFile, SkipsCommentsMarksAndSpace) {
  const auto found = entries(
      "\xef\xbb\xbf# first\r\n  epochs = 20   # enough\r\n\n\tdata=/a/b#c.npy\n"
      "  # indented\nlabels = \"a # b\"  # behind");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].name, "epochs");
  EXPECT_EQ(found[0].value, "20");
  EXPECT_EQ(found[0].line, 2);
  EXPECT_EQ(found[1].value, "/a/b#c.npy");
  EXPECT_EQ(found[2].value, "a # b");
}

TEST(ConfigurationFile, NamesTheLineItCannotRead) {
  for (const char* text :
       {"a=1\nepochs\n", "a=1\n=2\n", "a=1\nb=\"open\n", "a=1\nb=\"x\" y\n", "a=1\nb=\"\\q\"\n"}) {
    try {
      entries(text);
      ADD_FAILURE() << text;
    } catch (const OptionError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("line 2")) << text;
    }
  }
  EXPECT_THROW(entries(std::string("a=1\0", 4)), OptionError);
  EXPECT_THROW(entries("\xff\xfe"
                       "a"),
               OptionError);
  EXPECT_THROW(read_configuration("/no/such/file.ini"), OptionError);
  EXPECT_THROW(read_configuration("/"), OptionError);
}

}  // namespace
}  // namespace eigenscale
