#include "eigenscale/core/configuration_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

constexpr std::string_view kSpace = " \t\r\f\v";
constexpr std::array<std::pair<char, char>, 5> kEscapes = {
    {{'\\', '\\'}, {'"', '"'}, {'n', '\n'}, {'r', '\r'}, {'t', '\t'}}};

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool begins_comment(std::string_view text, std::size_t at) {
  return text[at] == '#' && (at == 0 || kSpace.find(text[at - 1]) != std::string_view::npos);
}

std::string_view without_comment(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (begins_comment(text, at)) {
      return text.substr(0, at);
    }
  }
  return text;
}

/// The content of text that begins with a quotation mark; false where it does not end with one.
bool unquote(std::string_view text, std::string& value) {
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '"') {
      return trim(without_comment(text.substr(at + 1))).empty();
    }
    if (text[at] != '\\') {
      value += text[at];
      continue;
    }
    const char letter = ++at < text.size() ? text[at] : '\0';
    const auto* escape = std::ranges::find(kEscapes, letter, &std::pair<char, char>::first);
    if (escape == kEscapes.end()) {
      return false;
    }
    value += escape->second;
  }
  return false;
}

std::string read_text(const std::filesystem::path& path) {
  std::error_code ignored;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file.is_open() && !std::filesystem::is_directory(path, ignored)) {
    text.assign(std::istreambuf_iterator<char>(file), {});
  } else {
    file.setstate(std::ios::badbit);
  }
  if (file.bad()) {
    throw OptionError("--config: cannot read '" + path.string() + "'");
  }
  if (text.find('\0') != std::string::npos || text.starts_with("\xff\xfe") ||
      text.starts_with("\xfe\xff")) {
    throw OptionError("--config: '" + path.string() + "' is no text in UTF-8");
  }
  return text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text;
}

}  // namespace

std::vector<ConfigurationEntry> read_configuration(const std::filesystem::path& path) {
  std::vector<ConfigurationEntry> entries;
  std::istringstream text(read_text(path));
  int number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    const auto content = trim(line);
    if (content.empty() || content.front() == '#') {
      continue;
    }
    const auto fail = [&](const std::string& expected) {
      return OptionError("--config: '" + path.string() + "', line " + std::to_string(number) +
                         ": '" + std::string(content.substr(0, 80)) + "'; expected " + expected);
    };
    const auto equals = content.find('=');
    const std::string name(trim(content.substr(0, equals)));
    if (equals == std::string_view::npos || name.empty()) {
      throw fail("name=value");
    }
    const auto rest = content.substr(equals + 1);
    const auto first = trim(rest);
    std::string value;
    if (!first.starts_with('"')) {
      value = trim(without_comment(rest));
    } else if (!unquote(first, value)) {
      throw fail("a value in double quotes, with \\\\ \\\" \\n \\r \\t in it");
    }
    entries.push_back({name, value, number});
  }
  return entries;
}

std::string configuration_line(const std::string& name, const std::string& value) {
  const bool plain = trim(value) == value && value.find_first_of("\"\\#\n\r") == std::string::npos;
  if (plain && !value.empty()) {
    return name + "=" + value;
  }
  std::string line = name + "=\"";
  for (const char c : value) {
    const auto* escape = std::ranges::find(kEscapes, c, &std::pair<char, char>::second);
    line += escape == kEscapes.end() ? std::string(1, c) : std::string{'\\', escape->first};
  }
  return line + "\"";
}

}  // namespace eigenscale
