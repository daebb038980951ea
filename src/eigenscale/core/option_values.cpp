#include "eigenscale/core/option_values.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <sstream>
#include <type_traits>
#include <utility>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace po = boost::program_options;

namespace {

template <typename T>
class NumberValue final : public po::typed_value<T>, public CheckedOption {
 public:
  NumberValue(T least, T most, bool without_least)
      : po::typed_value<T>(nullptr), least_(least), most_(most), without_least_(without_least) {
    this->value_name(std::is_integral_v<T> ? "N" : "X");
  }

  // What is no number at all is kept for the check, which tells of it with all other mistakes.
  void xparse(boost::any& value, const std::vector<std::string>& tokens) const override {
    try {
      po::typed_value<T>::xparse(value, tokens);
    } catch (const po::invalid_option_value&) {
      value = tokens.back();
    }
  }

  void check(const std::string& name, const boost::any& value) const override {
    if (const auto* text = boost::any_cast<std::string>(&value)) {
      throw OptionError("--" + name + " is '" + *text + "'; expected a " +
                        (std::is_integral_v<T> ? "whole " : "") + "number");
    }
    const T number = boost::any_cast<T>(value);
    // Written so that a value that is not a number fails.
    if ((without_least_ ? number > least_ : number >= least_) && number <= most_) {
      return;
    }
    std::ostringstream message;
    message.precision(15);
    message << "--" << name << " is " << number << "; expected ";
    const bool bounded_below =
        static_cast<double>(least_) > -kMostReal && least_ > std::numeric_limits<T>::lowest();
    const bool bounded_above = most_ < most_number();
    if (number > most_ && !bounded_above) {
      message << "at most " << most_;
    } else if (bounded_below) {
      message << (without_least_ ? "more than " : "at least ") << least_;
      if (bounded_above) {
        message << " and at most " << most_;
      }
    } else {
      message << "a number of at least " << least_ << " and at most " << most_;
    }
    throw OptionError(message.str());
  }

 private:
  static T most_number() {
    if constexpr (std::is_integral_v<T>) {
      return kMostWhole;
    } else {
      return kMostReal;
    }
  }
  T least_;
  T most_;
  bool without_least_;
};

class TextValue final : public po::typed_value<std::string>, public CheckedOption {
 public:
  explicit TextValue(std::vector<std::string> words)
      : po::typed_value<std::string>(nullptr), words_(std::move(words)) {
    value_name("TEXT");
  }

  void check(const std::string& name, const boost::any& value) const override {
    const auto text = boost::any_cast<std::string>(value);
    if (words_.empty() ? !text.empty() : std::ranges::find(words_, text) != words_.end()) {
      return;
    }
    std::string expected = words_.empty() ? "something" : "";
    for (std::size_t i = 0; i < words_.size(); ++i) {
      expected += (i == 0 ? "" : i + 1 == words_.size() ? " or " : ", ") + words_[i];
    }
    throw OptionError("--" + name + " is '" + text + "'; expected " + expected);
  }

 private:
  std::vector<std::string> words_;
};

class TextsValue final : public po::typed_value<std::vector<std::string>>, public CheckedOption {
 public:
  TextsValue() : po::typed_value<std::vector<std::string>>(nullptr) { value_name("TEXT"); }

  void check(const std::string& name, const boost::any& value) const override {
    for (const auto& text : boost::any_cast<std::vector<std::string>>(value)) {
      if (text.empty()) {
        throw OptionError("--" + name + " is ''; expected something");
      }
    }
  }
};

class FlagValue final : public po::typed_value<bool> {
 public:
  FlagValue() : po::typed_value<bool>(nullptr) {
    default_value(false);
    zero_tokens();
  }

  // boost takes the empty value of a file or variable for true.
  void xparse(boost::any& value, const std::vector<std::string>& tokens) const override {
    if (!tokens.empty() && tokens.front().empty()) {
      throw po::invalid_option_value("");
    }
    po::typed_value<bool>::xparse(value, tokens);
  }
};

}  // namespace

po::typed_value<std::int64_t>* whole(std::int64_t least, std::int64_t most) {
  return new NumberValue<std::int64_t>(least, most, false);
}

po::typed_value<double>* real(double least, double most) {
  return new NumberValue<double>(least, most, false);
}

po::typed_value<double>* above(double bound, double most) {
  return new NumberValue<double>(bound, most, true);
}

po::typed_value<std::string>* text() { return new TextValue({}); }

po::typed_value<std::vector<std::string>>* texts() { return new TextsValue; }

po::typed_value<std::string>* one_of(std::initializer_list<const char*> words) {
  return new TextValue({words.begin(), words.end()});
}

po::typed_value<bool>* flag() { return new FlagValue; }

}  // namespace eigenscale
