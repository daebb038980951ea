#pragma once

#include <string>
#include <utility>
#include <vector>

namespace eigenscale {

/// A self-contained page: no script, no external resource, light and dark.
class HtmlReport {
 public:
  HtmlReport(std::string title, std::string subtitle);

  /// [local] One of the large numbers at the top; plain text.
  void add_figure(const std::string& value, const std::string& label);
  /// [local] A sentence that needs attention; plain text.
  void add_warning(const std::string& text);
  /// [local] A section: heading and caption are plain text, `picture` is markup (SVG or <img>).
  void add_section(const std::string& heading, const std::string& caption,
                   const std::string& picture);
  /// [local] A table as a section; all cells plain text, the first row the head.
  void add_table(const std::string& heading, const std::string& caption,
                 const std::vector<std::vector<std::string>>& rows);

  std::string html() const;

 private:
  std::string title_;
  std::string subtitle_;
  std::string figures_;
  std::string warnings_;
  std::string sections_;
};

/// [local] Text with the characters that mean something to HTML escaped.
std::string escape_html(const std::string& text);

}  // namespace eigenscale
