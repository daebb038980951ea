#pragma once

#include <cstdint>
#include <string>

namespace eigenscale {

/// [local] A whole number with a comma between groups of three digits: 107,786.
std::string count_text(std::int64_t value);

/// [local] A duration for people: "0.42 s", "12.3 s", "7 min 05 s", "3 h 20 min", "2 d 4 h".
std::string duration_text(double seconds);

/// [local] A size in memory for people: "384 MiB", "12.3 GiB".
std::string bytes_text(double bytes);

/// [local] A number for people: whole ones below 1e15 and all from 1e5 to 1e9 as counts, others
/// with four digits; 3.2e+12 and 1.5e-05 beyond.
std::string short_number(double value);

}  // namespace eigenscale
