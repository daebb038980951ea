#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/option_values.h"

namespace eigenscale {

/// The options of one program: command line over environment (EIGENSCALE_*) over configuration
/// file over default. Unknown options and keys are errors, and so are values out of range
/// (core/option_values.h) and empty ones. The options that programs share are described here, and
/// read in report/program.h.
class ProgramOptions {
 public:
  /// What --output is: a folder for a copy of what is printed, or a run directory, which comes with
  /// --overwrite, --progress and --trace, and, where a run can go on, --resume.
  enum class Output { kText, kRun, kResumableRun };

  ProgramOptions(std::string program, const std::string& purpose, Output output = Output::kText);

  /// Adds options under a heading of --help, as in ("epochs", whole(1)->default_value(10), "...").
  /// The values are those of core/option_values.h.
  boost::program_options::options_description_easy_init group(const std::string& heading);

  /// Says that the program can work on GPUs: adds what it is asked beside --device then, under
  /// "Execution", and returns what adds more there.
  boost::program_options::options_description_easy_init execution_on_devices();
  bool runs_on_devices() const { return runs_on_devices_; }

  /// Arguments without a name are values of this option.
  void name_positional(const std::string& option) { positional_.add(option.c_str(), -1); }

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
  template <typename T>
  void read(const std::string& name, std::optional<T>& value) const {
    if (has(name)) {
      value = get<T>(name);
    }
  }
  /// True when the text option has this value.
  bool is(const std::string& name, std::string_view value) const {
    return get<std::string>(name) == value;
  }
  /// The --seed.
  std::uint64_t seed() const { return static_cast<std::uint64_t>(get<std::int64_t>("seed")); }
  /// Positive whole numbers such as 32x32 or 3,3,5; OptionError says `expected` otherwise, or when
  /// their product is too large to count, or unless there are `count` of them (0: any number).
  std::vector<std::int64_t> numbers(const std::string& name, char separator,
                                    const std::string& expected, std::size_t count = 0) const;
  /// Pairs such as conv1=0.5,linear*=2 with numbers of at least `minimum`; OptionError otherwise.
  std::vector<std::pair<std::string, double>> named_numbers(const std::string& name,
                                                            double minimum) const;

  const std::string& program() const { return program_; }
  Output output() const { return output_; }

  /// The effective configuration as INI text that --config reads back, whatever the values, without
  /// --overwrite and --resume.
  std::string configuration() const;
  /// All values, for comparison between ranks. A file named by --config counts by what it says.
  std::string everything() const;

 private:
  void read_file(const std::string& path);
  void check_values() const;
  std::string listing(std::initializer_list<std::string_view> left_out) const;

  std::string program_;
  std::string purpose_;
  Output output_;
  bool runs_on_devices_ = false;
  boost::program_options::positional_options_description positional_;
  std::deque<boost::program_options::options_description> groups_;
  boost::program_options::options_description all_;
  boost::program_options::variables_map values_;
};

}  // namespace eigenscale
