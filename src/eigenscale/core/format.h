#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace eigenscale {

/// What a text is made of. The library behind it stays in format.cpp: a newer libtorch brings its
/// own version of it, and two cannot be included together.
using FormatArgument = std::variant<bool, std::int64_t, std::uint64_t, double, std::string_view>;

template <typename T>
FormatArgument format_argument(const T& value) {
  if constexpr (std::same_as<T, bool>) {
    return value;
  } else if constexpr (std::unsigned_integral<T>) {
    return static_cast<std::uint64_t>(value);
  } else if constexpr (std::integral<T>) {
    return static_cast<std::int64_t>(value);
  } else if constexpr (std::floating_point<T>) {
    return static_cast<double>(value);
  } else {
    return std::string_view(value);
  }
}

/// A pattern as std::format's, checked when it is compiled: as many places as arguments, and
/// numbers with e, f, g or a precision only where these are floating-point.
template <typename... Arguments>
class FormatPattern {
 public:
  template <std::convertible_to<std::string_view> Text>
  consteval FormatPattern(const Text& text) : text_(text) {  // NOLINT: a conversion is meant
    // One more, so that there is no array of none.
    constexpr std::array<bool, sizeof...(Arguments) + 1> is_floating = {
        std::floating_point<std::remove_cvref_t<Arguments>>..., false};
    std::size_t place = 0;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '}') {
        ++i;  // a literal one is written twice
      } else if (text_[i] == '{' && text_[i + 1] == '{') {
        ++i;
      } else if (text_[i] == '{') {
        const auto of = place++;
        bool floating = false;
        for (++i; text_[i] != '}'; ++i) {
          if (text_[i] == '{') {  // a width that is an argument
            ++place;
            ++i;
          } else {
            floating =
                floating || std::string_view(".efg").find(text_[i]) != std::string_view::npos;
          }
        }
        if (of >= sizeof...(Arguments) || (floating && !is_floating[of])) {
          throw "a place of the pattern has no argument, or one that is no floating-point number";
        }
      }
    }
    if (place != sizeof...(Arguments)) {
      throw "the pattern has not as many places as there are arguments";
    }
  }
  std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

/// Patterns take part in no deduction: the arguments alone say what they are.
template <typename... Arguments>
using PatternFor = FormatPattern<std::type_identity_t<Arguments>...>;

/// [local] As format_text(), of arguments whose types were erased.
std::string format_arguments(std::string_view pattern, const FormatArgument* arguments,
                             std::size_t count);

/// [local] format_text("{} of {:.3g} s", 3, 0.5) is "3 of 0.5 s".
template <typename... Arguments>
std::string format_text(PatternFor<Arguments...> pattern, const Arguments&... arguments) {
  const std::array<FormatArgument, sizeof...(Arguments) + 1> erased = {
      format_argument(arguments)..., false};
  return format_arguments(pattern.text(), erased.data(), sizeof...(Arguments));
}

/// [local] The values of a range one behind the other.
template <typename Range>
std::string joined(const Range& values, std::string_view separator) {
  std::string text;
  bool first = true;
  for (const auto& value : values) {
    text += first ? "" : separator;
    text += format_text("{}", value);
    first = false;
  }
  return text;
}

}  // namespace eigenscale
