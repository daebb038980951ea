#pragma once

#include <boost/any.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

namespace eigenscale {

/// The largest whole number an option takes unless it says otherwise: double precision and JSON
/// hold it exactly, and sums of a few do not overflow.
constexpr std::int64_t kMostWhole = std::int64_t{1} << 53;
/// The largest number that every floating-point type holds.
constexpr double kMostReal = std::numeric_limits<float>::max();

// What an option takes, to be given to ProgramOptions::group. A value out of range is found when
// the options are read, and the error names the option. boost's setters follow: whole(1)->
// default_value(8). Owned by the description it is given to.

/// A whole number of `least` to `most`.
boost::program_options::typed_value<std::int64_t>* whole(std::int64_t least,
                                                         std::int64_t most = kMostWhole);
/// A finite number of `least` to `most`, within what single precision holds unless said otherwise.
boost::program_options::typed_value<double>* real(double least = -kMostReal,
                                                  double most = kMostReal);
/// A finite number above `bound`, at most `most`.
boost::program_options::typed_value<double>* above(double bound, double most = kMostReal);
/// Text that is not empty, such as a path.
boost::program_options::typed_value<std::string>* text();
/// Text that may be given several times; each names one more.
boost::program_options::typed_value<std::vector<std::string>>* texts();
/// One of these words.
boost::program_options::typed_value<std::string>* one_of(std::initializer_list<const char*> words);
/// A switch: false until it is given; true, false, yes, no, on, off, 1 or 0 in a file or variable,
/// where nothing at all is an error.
boost::program_options::typed_value<bool>* flag();

/// What checks a value after it was read.
class CheckedOption {
 public:
  virtual ~CheckedOption() = default;
  /// Throws OptionError that names the option, what was found and what was expected.
  virtual void check(const std::string& name, const boost::any& value) const = 0;
};

}  // namespace eigenscale
