#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenscale/core/errors.h"

namespace eigenscale {

/// The options of one program: command line over environment (EIGENSCALE_*) over configuration
/// file over default. Unknown options and keys are errors. Every program has --config, --output,
/// --seed, --device, --log-level, --help and --version.
class ProgramOptions {
 public:
  ProgramOptions(std::string program, const std::string& purpose);

  /// Adds options under a heading of --help. Value types: std::string, std::int64_t, double, and
  /// bool_switch().
  boost::program_options::options_description_easy_init group(const std::string& heading);

  /// [local] Reads all sources. Throws OptionError for anything unknown or malformed.
  void parse(int argc, const char* const* argv);

  /// True when --help or --version was given; `text()` is then what to print, and nothing else
  /// should be done.
  bool wants_text() const;
  std::string text() const;

  template <typename T>
  const T& get(const std::string& name) const {
    if (!values_.contains(name)) {
      throw OptionError("--" + name + " is required; see --help");
    }
    return values_[name].as<T>();
  }
  bool has(const std::string& name) const { return values_.contains(name); }

  /// Puts the option's value into `value` where there is one.
  template <typename T>
  void read(const std::string& name, T& value) const {
    if (has(name)) {
      value = get<T>(name);
    }
  }
  /// The value of a text option that must be one of `known`; OptionError otherwise.
  std::string choice(const std::string& name, std::initializer_list<const char*> known) const;
  /// Positive whole numbers such as 32x32 or 3,3,5; OptionError says `expected` otherwise.
  std::vector<std::int64_t> numbers(const std::string& name, char separator,
                                    const std::string& expected) const;
  /// Pairs such as conv1=0.5,linear*=2 with numbers of at least `minimum`; OptionError otherwise.
  std::vector<std::pair<std::string, double>> named_numbers(const std::string& name,
                                                            double minimum) const;
  /// The option's value, which must be at least `minimum`.
  std::int64_t at_least(const std::string& name, std::int64_t minimum) const;
  double at_least(const std::string& name, double minimum) const;

  /// The effective configuration as INI text that --config reads back, without --overwrite and
  /// --resume.
  std::string configuration() const;
  /// All values, for comparison between ranks. A file named by --config counts by what it says.
  std::string everything() const;

 private:
  std::string listing(std::initializer_list<std::string_view> left_out) const;

  std::string program_;
  std::string purpose_;
  std::deque<boost::program_options::options_description> groups_;
  boost::program_options::options_description all_;
  boost::program_options::variables_map values_;
};

}  // namespace eigenscale
