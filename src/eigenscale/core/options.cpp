#include "eigenscale/core/options.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "eigenscale/core/version.h"

namespace eigenscale {
namespace po = boost::program_options;

namespace {

// EIGENSCALE_PRETRAIN_EPOCHS sets pretrain-epochs; variables that name no option of this program
// belong to others.
std::string option_of_variable(const po::options_description& options,
                               const std::string& variable) {
  constexpr std::string_view kPrefix = "EIGENSCALE_";
  if (!variable.starts_with(kPrefix)) {
    return "";
  }
  std::string name = variable.substr(kPrefix.size());
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return c == '_' ? '-' : static_cast<char>(std::tolower(c));
  });
  return options.find_nothrow(name, false) != nullptr ? name : "";
}

}  // namespace

ProgramOptions::ProgramOptions(std::string program, const std::string& purpose)
    : program_(std::move(program)), purpose_(purpose) {
  group("Every program")("config", po::value<std::string>(), "INI file of these option names")(
      "output", po::value<std::string>(), "run directory, created")(
      "seed", po::value<std::int64_t>()->default_value(1), "seed of all random numbers")(
      "device", po::value<std::string>()->default_value("cpu"), "cpu or cuda")(
      "log-level", po::value<std::string>()->default_value("info"),
      "trace, debug, info, warning, error or off")("help", po::bool_switch(), "print this text")(
      "version", po::bool_switch(), "print the version");
}

po::options_description_easy_init ProgramOptions::group(const std::string& heading) {
  return groups_.emplace_back(heading).add_options();
}

void ProgramOptions::parse(int argc, const char* const* argv) {
  for (const auto& group : groups_) {
    all_.add(group);
  }
  try {
    const int style =
        po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    po::positional_options_description none;
    po::store(po::command_line_parser(argc, argv).options(all_).positional(none).style(style).run(),
              values_);
    po::store(po::parse_environment(
                  all_, [this](const std::string& name) { return option_of_variable(all_, name); }),
              values_);
    if (values_.contains("config")) {
      const auto& path = values_["config"].as<std::string>();
      std::ifstream file(path);
      std::string text(std::istreambuf_iterator<char>(file), {});
      if (!file.is_open() || file.bad()) {
        throw OptionError("--config: cannot read '" + path + "'");
      }
      std::istringstream stream(text);
      po::store(po::parse_config_file(stream, all_), values_);
    }
    po::notify(values_);
  } catch (const po::error& error) {
    throw OptionError(std::string(error.what()) + "; see " + program_ + " --help");
  }
}

bool ProgramOptions::wants_text() const {
  return values_["help"].as<bool>() || values_["version"].as<bool>();
}

std::string ProgramOptions::text() const {
  if (values_["version"].as<bool>()) {
    return program_ + " " + version() + " (" + build_description() + ")\n";
  }
  std::ostringstream text;
  text << program_ << ": " << purpose_ << "\n";
  for (const auto& group : groups_) {
    text << "\n" << group;
  }
  return text.str();
}

std::string ProgramOptions::choice(const std::string& name,
                                   std::initializer_list<const char*> known) const {
  const auto& value = get<std::string>(name);
  std::string expected;
  std::size_t position = 0;
  for (const char* candidate : known) {
    if (value == candidate) {
      return value;
    }
    ++position;
    expected += (position == 1 ? "" : position == known.size() ? " or " : ", ");
    expected += candidate;
  }
  throw OptionError("--" + name + " is '" + value + "'; expected " + expected);
}

std::vector<std::int64_t> ProgramOptions::numbers(const std::string& name, char separator,
                                                  const std::string& expected) const {
  const auto& text = get<std::string>(name);
  std::vector<std::int64_t> result;
  const char* next = text.data();
  const char* const end = next + text.size();
  while (true) {
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(next, end, value);
    if (error != std::errc() || value < 1 || (stop != end && *stop != separator)) {
      throw OptionError("--" + name + " is '" + text + "'; expected " + expected);
    }
    result.push_back(value);
    if (stop == end) {
      return result;
    }
    next = stop + 1;
  }
}

std::vector<std::pair<std::string, double>> ProgramOptions::named_numbers(const std::string& name,
                                                                          double minimum) const {
  std::vector<std::pair<std::string, double>> result;
  std::istringstream list(get<std::string>(name));
  std::string pair;
  while (std::getline(list, pair, ',')) {
    const auto equals = pair.find('=');
    double value = 0;
    const char* const end = pair.data() + pair.size();
    const bool whole = equals != std::string::npos && equals > 0 &&
                       std::from_chars(pair.data() + equals + 1, end, value).ptr == end;
    if (!whole || equals + 1 == pair.size() || !(value >= minimum)) {
      std::ostringstream message;
      message << "--" << name << " has '" << pair << "'; expected NAME=NUMBER of at least "
              << minimum;
      throw OptionError(message.str());
    }
    result.emplace_back(pair.substr(0, equals), value);
  }
  return result;
}

namespace {

template <typename T>
T require_at_least(const std::string& name, T value, T minimum) {
  if (!(value >= minimum)) {
    std::ostringstream message;
    message << "--" << name << " is " << value << "; expected at least " << minimum;
    throw OptionError(message.str());
  }
  return value;
}

}  // namespace

std::int64_t ProgramOptions::at_least(const std::string& name, std::int64_t minimum) const {
  return require_at_least(name, get<std::int64_t>(name), minimum);
}

double ProgramOptions::at_least(const std::string& name, double minimum) const {
  return require_at_least(name, get<double>(name), minimum);
}

std::string ProgramOptions::configuration() const {
  // What to do with an earlier run is no part of this one, and would be done again with --config.
  return "# " + program_ + " " + version() + ": the options this run used\n" +
         listing({"help", "version", "config", "overwrite", "resume"});
}

std::string ProgramOptions::everything() const { return listing({"config"}); }

std::string ProgramOptions::listing(std::initializer_list<std::string_view> left_out) const {
  std::ostringstream text;
  text.precision(17);
  for (const auto& [name, value] : values_) {
    if (std::ranges::find(left_out, name) != left_out.end()) {
      continue;
    }
    text << name << "=";
    if (const auto* string = boost::any_cast<std::string>(&value.value())) {
      text << *string;
    } else if (const auto* integer = boost::any_cast<std::int64_t>(&value.value())) {
      text << *integer;
    } else if (const auto* number = boost::any_cast<double>(&value.value())) {
      text << *number;
    } else if (const auto* flag = boost::any_cast<bool>(&value.value())) {
      text << (*flag ? "true" : "false");
    }
    text << "\n";
  }
  return text.str();
}

}  // namespace eigenscale
