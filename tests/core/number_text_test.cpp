#include "eigenscale/core/number_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace eigenscale {
namespace {

TEST(NumberText, CountsAreGrouped) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(107786), "107,786");
  EXPECT_EQ(count_text(-999), "-999");
  EXPECT_EQ(count_text(-1234567), "-1,234,567");
  EXPECT_EQ(count_text(std::numeric_limits<std::int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(NumberText, DurationsReadMinutesAndHours) {
  EXPECT_EQ(duration_text(0), "0.00 s");
  EXPECT_EQ(duration_text(9.99), "9.99 s");
  EXPECT_EQ(duration_text(59.94), "59.9 s");
  EXPECT_EQ(duration_text(59.96), "1 min 00 s");
  EXPECT_EQ(duration_text(425), "7 min 05 s");
  EXPECT_EQ(duration_text(3599.4), "59 min 59 s");
  EXPECT_EQ(duration_text(3599.6), "1 h 00 min");
  EXPECT_EQ(duration_text(12000), "3 h 20 min");
  EXPECT_EQ(duration_text(86400), "1 d 0 h");
  EXPECT_EQ(duration_text(187200), "2 d 4 h");
  EXPECT_NE(duration_text(NAN).find("nan"), std::string::npos);
  EXPECT_NE(duration_text(1e300).find("e+300"), std::string::npos);
}

TEST(NumberText, NumbersReadAsPeopleWriteThem) {
  EXPECT_EQ(short_number(107786), "107,786");
  EXPECT_EQ(short_number(123456.7), "123,457");
  EXPECT_EQ(short_number(12.34567), "12.35");
  EXPECT_EQ(short_number(-0.0), "0");
  EXPECT_EQ(short_number(3.21e-7), "3.21e-07");
  EXPECT_EQ(short_number(3.2e40), "3.2e+40");
}

TEST(NumberText, SizesReadMebibytesAndGibibytes) {
  EXPECT_EQ(bytes_text(384.0 * 1024 * 1024), "384 MiB");
  EXPECT_EQ(bytes_text(12.25 * 1024 * 1024 * 1024), "12.2 GiB");
}

}  // namespace
}  // namespace eigenscale
