#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace eigenscale {

/// One `name=value` of a configuration file.
struct ConfigurationEntry {
  std::string name;
  std::string value;
  int line = 0;
};

/// [local] The entries of an INI file: `name=value` a line; space around either does not count; a
/// `#` at the beginning of a line, or behind space, begins a comment. A value in double quotes
/// holds anything, with \\ \" \n \r \t for what cannot stand there. A byte order mark of UTF-8 and
/// line ends of Windows are skipped. OptionError names file and line.
std::vector<ConfigurationEntry> read_configuration(const std::filesystem::path& path);

/// [local] A line, without its end, that reads back as exactly this value.
std::string configuration_line(const std::string& name, const std::string& value);

}  // namespace eigenscale
