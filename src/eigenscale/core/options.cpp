#include "eigenscale/core/options.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>

#include "eigenscale/core/configuration_file.h"
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

// clang-format off
ProgramOptions::ProgramOptions(std::string program, const std::string& purpose, Output output)
    : program_(std::move(program)), purpose_(purpose), output_(output) {
  group("Every program")
      ("config", eigenscale::text(), "INI file of these option names")
      ("output", eigenscale::text(), output == Output::kText
           ? "folder, created, for what is printed" : "run directory, created")
      ("seed", whole(std::numeric_limits<std::int64_t>::min(),
                     std::numeric_limits<std::int64_t>::max())->default_value(1),
       "seed of all random numbers")
      ("device", one_of({"cpu", "cuda"})->default_value("cpu"), "cpu or cuda")
      ("log-level",
       one_of({"trace", "debug", "info", "warning", "error", "off"})->default_value("info"),
       "trace, debug, info, warning, error or off")
      ("collective-timeout", real(0)->default_value(1800),
       "seconds after which a collective counts as dead; 0 for never")
      ("help", flag(), "print this text")
      ("version", flag(), "print the version");
  if (output == Output::kText) {
    return;
  }
  group("The run")
      ("overwrite", flag(), "replace an earlier run in --output")
      ("progress", one_of({"auto", "always", "never"})->default_value("auto"),
       "auto, always or never")
      ("trace", flag(), "write trace.json for chrome://tracing, all ranks");
  if (output == Output::kResumableRun) {
    group("Going on")
        ("resume", flag(), "go on from the newest checkpoint in --output, if there is one");
  }
}
// clang-format on

po::options_description_easy_init ProgramOptions::group(const std::string& heading) {
  return groups_.emplace_back(heading).add_options();
}

po::options_description_easy_init ProgramOptions::execution_on_devices() {
  runs_on_devices_ = true;
  auto add = group("Execution");
  add("communicator", one_of({"auto", "mpi", "nccl"})->default_value("auto"),
      "what tensors on a GPU travel by: nccl, mpi (through the host's memory) or auto");
  return add;
}

void ProgramOptions::parse(int argc, const char* const* argv) {
  for (const auto& group : groups_) {
    all_.add(group);
  }
  try {
    const int style =
        po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    po::store(po::command_line_parser(argc, argv)
                  .options(all_)
                  .positional(positional_)
                  .style(style)
                  .run(),
              values_);
    po::store(po::parse_environment(
                  all_, [this](const std::string& name) { return option_of_variable(all_, name); }),
              values_);
    if (values_.contains("config")) {
      read_file(values_["config"].as<std::string>());
    }
    po::notify(values_);
  } catch (const po::error& error) {
    throw OptionError(std::string(error.what()) + "; see " + program_ + " --help");
  }
  check_values();
}

void ProgramOptions::read_file(const std::string& path) {
  po::parsed_options parsed(&all_);
  for (const auto& entry : read_configuration(path)) {
    if (all_.find_nothrow(entry.name, false) == nullptr || entry.name == "config") {
      throw OptionError("--config: '" + path + "', line " + std::to_string(entry.line) +
                        ": unknown option '" + entry.name + "'; see " + program_ + " --help");
    }
    parsed.options.emplace_back(entry.name, std::vector<std::string>{entry.value});
  }
  po::store(parsed, values_);
}

void ProgramOptions::check_values() const {
  std::string complaints;
  for (const auto& option : all_.options()) {
    const auto& name = option->long_name();
    const auto* checked = dynamic_cast<const CheckedOption*>(option->semantic().get());
    if (checked == nullptr || !values_.contains(name)) {
      continue;
    }
    try {
      checked->check(name, values_[name].value());
    } catch (const OptionError& error) {
      complaints += (complaints.empty() ? "" : ". ") + std::string(error.what());
    }
  }
  if (!complaints.empty()) {
    throw OptionError(complaints);
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

std::vector<std::int64_t> ProgramOptions::numbers(const std::string& name, char separator,
                                                  const std::string& expected,
                                                  std::size_t count) const {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto& text = get<std::string>(name);
  std::vector<std::int64_t> result;
  std::int64_t product = 1;
  const char* next = text.data();
  const char* const end = next + text.size();
  while (true) {
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(next, end, value);
    if (error != std::errc() || value < 1 || value > kMost || (stop != end && *stop != separator) ||
        (separator == 'x' && __builtin_mul_overflow(product, value, &product)) ||
        (count > 0 && stop == end && result.size() + 1 != count)) {
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
    bool whole = equals != std::string::npos && equals > 0;
    if (whole) {
      const auto read = std::from_chars(pair.data() + equals + 1, end, value);
      whole = read.ec == std::errc() && read.ptr == end;
    }
    if (!whole || equals + 1 == pair.size() || !(value >= minimum && value <= kMostReal)) {
      std::ostringstream message;
      message << "--" << name << " has '" << pair << "'; expected NAME=NUMBER of at least "
              << minimum << " and at most " << kMostReal;
      throw OptionError(message.str());
    }
    result.emplace_back(pair.substr(0, equals), value);
  }
  return result;
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
    if (const auto* string = boost::any_cast<std::string>(&value.value())) {
      text << configuration_line(name, *string) << "\n";
    } else if (const auto* strings = boost::any_cast<std::vector<std::string>>(&value.value())) {
      for (const auto& one : *strings) {
        text << configuration_line(name, one) << "\n";
      }
    } else if (const auto* integer = boost::any_cast<std::int64_t>(&value.value())) {
      text << name << "=" << *integer << "\n";
    } else if (const auto* number = boost::any_cast<double>(&value.value())) {
      text << name << "=" << *number << "\n";
    } else if (const auto* on = boost::any_cast<bool>(&value.value())) {
      text << name << "=" << (*on ? "true" : "false") << "\n";
    }
  }
  return text.str();
}

}  // namespace eigenscale
