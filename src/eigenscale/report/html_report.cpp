#include "eigenscale/report/html_report.h"

namespace eigenscale {
namespace {

constexpr const char* kStyle = R"css(
:root{--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--page:#fbfcfd;--card:#fff;--warn:#fff4dc}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--line:#303a47;--page:#12171d;
--card:#1a212a;--warn:#3a2f14}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:880px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:1.7rem;margin:0}header p{color:var(--soft);margin:.2rem 0 1.4rem}
h2{font-size:1.15rem;margin:0 0 .2rem}section{background:var(--card);border:1px solid var(--line);
border-radius:10px;padding:18px 20px;margin:18px 0}
.caption,.note{color:var(--soft);font-size:.92rem;margin:.1rem 0 .8rem;max-width:70ch}
.figures{display:flex;flex-wrap:wrap;gap:12px}.figures div{background:var(--card);
border:1px solid var(--line);border-radius:10px;padding:12px 18px;min-width:118px}
.figures b{display:block;font-size:1.55rem;font-variant-numeric:tabular-nums}
.figures span{color:var(--soft);font-size:.85rem}
.warning{background:var(--warn);border-radius:8px;padding:10px 14px;margin:14px 0}
svg{width:100%;height:auto;display:block;margin:0 auto}svg text{font-size:12px;fill:var(--soft)}
svg .grid{stroke:var(--line)}svg .axis,svg .rim{stroke:var(--soft);fill:none}
svg .label{fill:var(--ink)}svg .curve{fill:none;stroke-width:2}
svg .mark{stroke:var(--ink);stroke-dasharray:4 4}
img.pixels{image-rendering:pixelated;max-width:100%;display:block;margin:0 auto;border-radius:4px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line)}
td:not(:first-child),th:not(:first-child){text-align:right}
.scroll{overflow-x:auto}
)css";

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

HtmlReport::HtmlReport(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void HtmlReport::add_figure(const std::string& value, const std::string& label) {
  figures_ += "<div><b>" + escape_html(value) + "</b><span>" + escape_html(label) + "</span></div>";
}

void HtmlReport::add_warning(const std::string& text) {
  warnings_ += "<p class='warning'>" + escape_html(text) + "</p>";
}

void HtmlReport::add_section(const std::string& heading, const std::string& caption,
                             const std::string& picture) {
  sections_ += "<section><h2>" + escape_html(heading) + "</h2><p class='caption'>" +
               escape_html(caption) + "</p>" + picture + "</section>\n";
}

void HtmlReport::add_table(const std::string& heading, const std::string& caption,
                           const std::vector<std::vector<std::string>>& rows) {
  std::string table = "<div class='scroll'><table>";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const char* cell = i == 0 ? "th" : "td";
    table += "<tr>";
    for (const auto& text : rows[i]) {
      table += std::string("<") + cell + ">" + escape_html(text) + "</" + cell + ">";
    }
    table += "</tr>";
  }
  add_section(heading, caption, table + "</table></div>");
}

std::string HtmlReport::html() const {
  return "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
         "content='width=device-width,initial-scale=1'><title>" +
         escape_html(title_) + "</title><style>" + kStyle +
         "</style></head><body><main><header><h1>" + escape_html(title_) + "</h1><p>" +
         escape_html(subtitle_) + "</p></header>\n<div class='figures'>" + figures_ + "</div>\n" +
         warnings_ + sections_ + "</main></body></html>\n";
}

}  // namespace eigenscale
