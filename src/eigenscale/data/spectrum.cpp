#include "eigenscale/data/spectrum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/core/random.h"
#include "eigenscale/data/index_permutation.h"
#include "eigenscale/data/npy_file.h"

namespace eigenscale {
namespace {

void require_spectrum(bool condition, const std::string& message) {
  if (!condition) {
    throw OptionError(message);
  }
}

/// The orthonormal Walsh-Hadamard transform of `size` numbers, a power of two, in place.
void hadamard(double* values, std::int64_t size) {
  for (std::int64_t half = 1; half < size; half *= 2) {
    for (std::int64_t block = 0; block < size; block += 2 * half) {
      double* low = values + block;
      double* high = low + half;
      for (std::int64_t i = 0; i < half; ++i) {
        const double sum = low[i] + high[i];
        high[i] = low[i] - high[i];
        low[i] = sum;
      }
    }
  }
  const double factor = 1 / std::sqrt(static_cast<double>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    values[i] *= factor;
  }
}

torch::Tensor law_of(const SpectrumOptions& options) {
  const auto index = torch::arange(options.rank, torch::kFloat64);
  auto values = options.law == "power" ? torch::pow(index + 1, -options.decay)
                                       : torch::pow(options.decay, index);
  return values.mul_(static_cast<double>(options.ambient_dim) / values.sum().item<double>());
}

}  // namespace

SpectrumOptions checked(SpectrumOptions options) {
  require_spectrum(options.law == "power" || options.law == "geometric",
                   "law '" + options.law + "' is unknown; known are power and geometric");
  require_spectrum(options.samples >= 2,
                   "a spectrum needs at least 2 samples, not " + std::to_string(options.samples));
  require_spectrum(options.samples < std::int64_t{1} << 31,
                   "a spectrum takes fewer than 2^31 samples");
  require_spectrum(options.ambient_dim >= 1,
                   "ambient-dim must be at least 1, not " + std::to_string(options.ambient_dim));
  const std::int64_t most = std::min(options.samples - 1, options.ambient_dim);
  require_spectrum(options.rank >= 0 && options.rank <= most,
                   "rank is " + std::to_string(options.rank) + "; " +
                       std::to_string(options.samples) + " samples of " +
                       std::to_string(options.ambient_dim) + " numbers vary in at most " +
                       std::to_string(most) + " directions");
  require_spectrum(std::isfinite(options.mean), "the mean must be finite");
  require_spectrum(options.law == "power" ? options.decay >= 0 && std::isfinite(options.decay)
                                          : options.decay > 0 && options.decay <= 1,
                   "decay is " + short_number(options.decay) + "; " + options.law + " takes " +
                       (options.law == "power" ? "0 or more" : "numbers above 0, at most 1"));
  options.rank = options.rank == 0 ? most : options.rank;
  return options;
}

/// x = Q^T y for coordinates y along the q_j.
class SpectrumData::Rotation {
 public:
  explicit Rotation(const SpectrumOptions& options)
      : size_(options.ambient_dim),
        block_(static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(size_)))),
        places_(CounterRandom(options.seed, "spectrum order").permutation(size_)),
        first_signs_(signs(CounterRandom(options.seed, "spectrum first signs"))),
        last_signs_(signs(CounterRandom(options.seed, "spectrum last signs"))),
        scratch_(size_) {}

  void apply(double* values) const {
    for (std::int64_t i = 0; i < size_; ++i) {
      values[i] *= first_signs_[i];
    }
    hadamard(values, block_);
    for (std::int64_t i = 0; i < size_; ++i) {
      scratch_[places_[i]] = values[i] * last_signs_[i];
    }
    hadamard(scratch_.data() + size_ - block_, block_);
    std::copy(scratch_.begin(), scratch_.end(), values);
  }

 private:
  std::vector<std::int8_t> signs(const CounterRandom& random) const {
    std::vector<std::int8_t> result(size_);
    for (std::int64_t i = 0; i < size_; ++i) {
      result[i] = (random.bits(static_cast<std::uint64_t>(i))[0] & 1) == 0 ? 1 : -1;
    }
    return result;
  }

  std::int64_t size_;
  std::int64_t block_;
  std::vector<std::int64_t> places_;
  std::vector<std::int8_t> first_signs_;
  std::vector<std::int8_t> last_signs_;
  mutable std::vector<double> scratch_;
};

SpectrumData::SpectrumData(const SpectrumOptions& options)
    : options_(checked(options)),
      variances_(law_of(options_)),
      mean_(torch::empty({options_.ambient_dim}, torch::kFloat64)),
      rotation_(std::make_unique<Rotation>(options_)) {
  const CounterRandom random(options_.seed, "spectrum mean");
  auto* mean = mean_.data_ptr<double>();
  for (std::int64_t k = 0; k < options_.ambient_dim; ++k) {
    mean[k] = options_.mean * (1 + random.uniform(static_cast<std::uint64_t>(k)));
  }
}

SpectrumData::~SpectrumData() = default;

torch::Tensor SpectrumData::make(RowRange range) const {
  const auto samples = static_cast<std::uint64_t>(options_.samples);
  const IndexPermutation order(options_.samples, options_.seed);
  const IndexPermutation frequencies(options_.samples - 1, options_.seed + 1);
  std::vector<double> scales(options_.rank);
  std::vector<std::uint64_t> frequency(options_.rank);
  for (std::int64_t j = 0; j < options_.rank; ++j) {
    scales[j] = std::sqrt(2 * variances_.data_ptr<double>()[j]);
    frequency[j] = 1 + static_cast<std::uint64_t>(frequencies(j));
  }
  auto rows = torch::zeros({range.size(), options_.ambient_dim}, torch::kFloat64);
  auto* row = rows.data_ptr<double>();
  const double step = std::numbers::pi / (2 * static_cast<double>(samples));
  for (std::int64_t i = range.begin; i < range.end; ++i, row += options_.ambient_dim) {
    const auto odd = 2 * static_cast<std::uint64_t>(order(i)) + 1;
    for (std::int64_t j = 0; j < options_.rank; ++j) {
      // Whole turns are taken off as whole numbers: no digit of a large angle is lost.
      row[j] = scales[j] * std::cos(step * static_cast<double>(odd * frequency[j] % (4 * samples)));
    }
    rotation_->apply(row);
  }
  return rows.add_(mean_);
}

torch::Tensor SpectrumData::directions(RowRange range) const {
  auto rows = torch::zeros({range.size(), options_.ambient_dim}, torch::kFloat64);
  for (std::int64_t j = range.begin; j < range.end; ++j) {
    auto* row = rows[j - range.begin].data_ptr<double>();
    row[j] = 1;
    rotation_->apply(row);
  }
  return rows;
}

void generate_spectrum(const Communicator& communicator, const SpectrumOptions& options,
                       const std::filesystem::path& directory,
                       const std::function<void(std::int64_t done)>& progress) {
  constexpr std::int64_t kDirectionNumbers = std::int64_t{8} << 20;
  std::unique_ptr<SpectrumData> data;
  on_all_ranks(communicator, [&] { data = std::make_unique<SpectrumData>(options); });
  on_first_rank(communicator, [&] { std::filesystem::create_directories(directory); });
  const auto own = [&](std::int64_t rows) {
    return RowPartition(rows, communicator.size()).range(communicator.rank());
  };
  const auto write_vector = [&](const char* name, const torch::Tensor& values) {
    const auto range = own(values.numel());
    write_npy(communicator, directory / name, values.narrow(0, range.begin, range.size()));
  };
  const std::int64_t dim = options.ambient_dim;
  write_vector("variances.npy", data->variances());
  write_vector("mean.npy", data->mean());
  const auto written =
      std::clamp<std::int64_t>(kDirectionNumbers / dim, 1, data->variances().numel());
  write_npy(communicator, directory / "directions.npy", torch::kFloat64, {dim}, own(written).size(),
            [&](RowRange range) { return data->directions(range); });
  const auto samples = own(options.samples);
  const auto tell = [&](std::int64_t row) {
    if (progress) {
      progress(row - samples.begin);
    }
  };
  tell(samples.begin);
  write_npy(communicator, directory / "data.npy", torch::kFloat32, {dim}, samples.size(),
            [&](RowRange range) {
              auto rows = data->make(range).to(torch::kFloat32);
              tell(range.end);
              return rows;
            });
}

}  // namespace eigenscale
