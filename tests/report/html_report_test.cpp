#include "eigenscale/report/html_report.h"

#include "report_test_support.h"

namespace eigenscale {
namespace {

TEST(HtmlReport, EscapesTextAndClosesEveryTag) {
  HtmlReport page("<b>&'\"", "sub");
  page.add_figure("1 < 2", "x & y");
  page.add_warning("careful <now>");
  page.add_section("heading", "caption", "<svg viewBox='0 0 1 1'></svg>");
  page.add_table("table", "caption", {{"a", "b"}, {"<1>", "2"}});
  const auto html = page.html();
  EXPECT_EQ(html.find("<now>"), std::string::npos);
  EXPECT_NE(html.find("&lt;now&gt;"), std::string::npos);
  EXPECT_NE(html.find("&lt;b&gt;&amp;&#39;&quot;"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos) << "self-contained";
  EXPECT_EQ(test::unbalanced_tag(html), "");
}

TEST(HtmlReport, TheBalanceCheckSeesAnOpenTag) {
  EXPECT_EQ(test::unbalanced_tag("<p><b>x</p>"), "p");
}

}  // namespace
}  // namespace eigenscale
