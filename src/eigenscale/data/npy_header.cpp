#include "eigenscale/data/npy_header.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <string_view>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::int64_t kAlignment = 64;
// Far above what an array of numbers needs; a larger length means a damaged file.
constexpr std::int64_t kLongestDictionary = 1 << 16;

// Reads the Python literal of the dictionary, as far as numpy writes it for arrays of numbers.
class DictionaryParser {
 public:
  DictionaryParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  NpyHeader parse() {
    NpyHeader header;
    int found = 0;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted("a key");
      expect(':');
      if (key == "descr") {
        header.type = element_type(descriptor());
        found |= 1;
      } else if (key == "fortran_order") {
        header.fortran_order = boolean();
        found |= 2;
      } else if (key == "shape") {
        header.shape = shape();
        found |= 4;
      } else {
        fail("has the unknown key '" + key + "'");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (found != 7) {
      fail("lacks one of descr, fortran_order, shape");
    }
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError("'" + name_ + "' is not a readable NumPy file: its header, " +
                     std::string(text_.substr(0, 200)) + ", " + what);
  }

  void skip_space() {
    while (next_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[next_]))) {
      ++next_;
    }
  }

  bool accept(char c) {
    skip_space();
    if (next_ == text_.size() || text_[next_] != c) {
      return false;
    }
    ++next_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) {
      fail("lacks a '" + std::string(1, c) + "' at position " + std::to_string(next_));
    }
  }

  bool accept_word(std::string_view word) {
    skip_space();
    if (!text_.substr(next_).starts_with(word)) {
      return false;
    }
    next_ += word.size();
    return true;
  }

  std::string quoted(const std::string& what) {
    skip_space();
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'') {
      expect('\'');
    }
    const auto end = text_.find(quote, next_);
    if (end == std::string_view::npos) {
      fail("lacks the end of " + what);
    }
    const std::string result(text_.substr(next_, end - next_));
    next_ = end + 1;
    return result;
  }

  std::string descriptor() {
    skip_space();
    if (next_ < text_.size() && text_[next_] == '[') {
      throw InputError("'" + name_ + "' holds a structured NumPy array; save one field of it");
    }
    return quoted("descr");
  }

  ElementType element_type(const std::string& text) const {
    ElementType type{};
    bool known = text.size() == 3 && std::string_view("<>|=").find(text[0]) != text.npos &&
                 text[2] >= '1' && text[2] <= '8';
    if (known) {
      type.order = text[0] == '<'   ? std::endian::little
                   : text[0] == '>' ? std::endian::big
                                    : std::endian::native;
      type.bytes = text[2] - '0';
      using Kind = ElementType::Kind;
      constexpr std::array<std::pair<char, Kind>, 4> kKinds = {
          {{'b', Kind::kBool}, {'i', Kind::kSigned}, {'u', Kind::kUnsigned}, {'f', Kind::kFloat}}};
      const auto* kind = std::ranges::find(kKinds, text[1], &std::pair<char, Kind>::first);
      known = kind != kKinds.end();
      if (known) {
        type.kind = kind->second;
      }
    }
    if (!known || !type.supported()) {
      throw InputError("'" + name_ + "' has elements of NumPy type '" + text +
                       "'; supported are f2, f4, f8, i1 to i8, u1 to u8 and b1");
    }
    return type;
  }

  bool boolean() {
    if (accept_word("True")) {
      return true;
    }
    if (!accept_word("False")) {
      fail("has a fortran_order that is neither True nor False");
    }
    return false;
  }

  std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> result;
    expect('(');
    while (!accept(')')) {
      skip_space();
      std::int64_t size = 0;
      const char* begin = text_.data() + next_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), size);
      if (error != std::errc()) {
        fail("has a shape that is not a tuple of integers");
      }
      next_ += end - begin;
      accept_word("L");  // Python 2 wrote long integers so.
      result.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return result;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t next_ = 0;
};

}  // namespace

NpyHeader read_npy_header(const InputFile& file) {
  std::array<unsigned char, 12> head{};
  const std::string& name = file.name();
  const std::string not_npy = "'" + name + "' is not a NumPy file: ";
  if (file.size() < 10) {
    throw InputError(not_npy + "it has only " + std::to_string(file.size()) + " bytes");
  }
  file.read(0, head.data(), 8);
  if (!std::equal(kMagic.begin(), kMagic.end(), head.begin(),
                  [](char a, unsigned char b) { return static_cast<unsigned char>(a) == b; })) {
    throw InputError(not_npy + "it does not begin with \\x93NUMPY");
  }
  const int major = head[6];
  if (major < 1 || major > 3 || head[7] != 0) {
    throw InputError("'" + name + "' has NumPy format version " + std::to_string(major) + "." +
                     std::to_string(head[7]) + "; supported are 1.0, 2.0 and 3.0");
  }
  const int length_bytes = major == 1 ? 2 : 4;
  file.read(8, head.data() + 8, length_bytes);
  std::int64_t length = 0;
  for (int byte = length_bytes - 1; byte >= 0; --byte) {
    length = length << 8 | head[8 + byte];
  }
  const std::int64_t begin = 8 + length_bytes;
  if (length > kLongestDictionary || begin + length > file.size()) {
    throw InputError("'" + name + "' is truncated or damaged: its header should have " +
                     std::to_string(length) + " bytes from offset " + std::to_string(begin) +
                     " on, the file has " + std::to_string(file.size()));
  }
  std::string text(length, '\0');
  file.read(begin, text.data(), length);
  NpyHeader header = DictionaryParser(text, name).parse();
  header.data_offset = begin + length;
  return header;
}

std::string format_npy_header(const ElementType& type, const std::vector<std::int64_t>& shape) {
  const char order = type.bytes == 1 ? '|' : std::endian::native == std::endian::little ? '<' : '>';
  const char kind = "biuf"[static_cast<int>(type.kind)];
  std::string text = std::string("{'descr': '") + order + kind + std::to_string(type.bytes) +
                     "', 'fortran_order': False, 'shape': (";
  for (const std::int64_t size : shape) {
    text += std::to_string(size) + ", ";
  }
  if (shape.size() > 1) {
    text.resize(text.size() - 2);
  } else if (shape.size() == 1) {
    text.resize(text.size() - 1);
  }
  text += "), }";
  const std::int64_t before = static_cast<std::int64_t>(kMagic.size()) + 4;
  const std::int64_t unpadded = before + static_cast<std::int64_t>(text.size()) + 1;
  text.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string head(kMagic);
  head += {'\1', '\0', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return head + text;
}

}  // namespace eigenscale
