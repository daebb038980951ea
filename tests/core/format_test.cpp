#include "eigenscale/core/format.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace eigenscale {
namespace {

TEST(Format, WritesEveryKindOfArgument) {
  const std::string text = "text";
  EXPECT_EQ(format_text("{} {} {} {} {}", text, "words", true, -3, 2.5), "text words true -3 2.5");
  EXPECT_EQ(format_text("{}", std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(format_text("{}", std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
}

TEST(Format, TakesWidthsAndPrecisions) {
  EXPECT_EQ(format_text("{:.3g}|{:>8.2f}|{:010}", 1234.5, 3.14159, std::int64_t{42}),
            "1.23e+03|    3.14|0000000042");
  EXPECT_EQ(format_text("{:<{}}|", "left", 7), "left   |");
}

TEST(Format, BracesAreWrittenTwice) { EXPECT_EQ(format_text("{{{}}}", 1), "{1}"); }

TEST(Format, JoinsValues) {
  EXPECT_EQ(joined(std::vector<std::int64_t>{3, 32, 32}, "x"), "3x32x32");
  EXPECT_EQ(joined(std::vector<std::string>{"", "b"}, " "), " b");
  EXPECT_EQ(joined(std::vector<double>(), ", "), "");
}

}  // namespace
}  // namespace eigenscale
