#pragma once

#include <string>
#include <vector>

namespace eigenscale {

/// One axis of a picture: a range of data, the pixels it is drawn on, and labelled ticks in round
/// places. Any finite values make one, a single value, denormal and huge ones included; values that
/// differ only by rounding are drawn as equal.
class PlotAxis {
 public:
  struct Tick {
    double pixel;
    std::string label;
  };

  /// [local] `from`, `to`: the pixels of the lowest and the highest value. On a logarithmic axis
  /// values that are not positive do not count. `margin` is left free at both ends, as a share.
  PlotAxis(const std::vector<double>& values, double from, double to, bool logarithmic = false,
           double margin = 0);

  /// Whether there is a value that can be drawn.
  bool empty() const { return empty_; }
  /// Whether `value` can be drawn.
  bool shows(double value) const;
  double pixel(double value) const;
  double from() const { return from_; }
  double to() const { return to_; }

  /// At most a dozen. Where all values are whole, so are the ticks; a logarithmic axis has three at
  /// least.
  std::vector<Tick> ticks() const;

 private:
  double scaled(double value) const;
  std::vector<Tick> linear_ticks(double low, double high) const;
  std::vector<Tick> logarithmic_ticks() const;

  double from_;
  double to_;
  bool logarithmic_;
  bool empty_ = true;
  bool whole_ = true;
  /// The range, in units of 2^exponent_ so that no difference overflows or loses its digits; of the
  /// decimal logarithm on a logarithmic axis.
  int exponent_ = 0;
  double low_ = 0;
  double high_ = 1;
};

}  // namespace eigenscale
