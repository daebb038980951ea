#include "eigenscale/spectral/whitening_run.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/spectral/streamed_covariance.h"
#include "eigenscale/spectral/whitened_rows.h"
#include "eigenscale/spectral/whitening_report.h"
#include "eigenscale/spectral/whitening_rows.h"

namespace eigenscale {
namespace {

// Bytes for each entry of D x D / P: covariance, its product, the solver's copy, vectors in two
// layouts and what travels between them, in double.
constexpr std::int64_t kEntryBytes = 80;

double largest_entry(const DistributedMatrix& matrix) {
  const auto& local = matrix.local();
  return all_reduce(matrix.layout().grid->all(),
                    local.numel() > 0 ? local.abs().max().item<double>() : 0.0, ReduceOp::kMax);
}

/// max |cov(Y) - what it is meant to be| from sum Y^T Y and sum Y over all samples.
double covariance_error(const DistributedMatrix& products, torch::Tensor sums, double samples,
                        const DistributedMatrix& target) {
  const auto& layout = products.layout();
  layout.grid->all().all_reduce(sums);
  const auto mean = sums / samples;
  auto difference = products.clone();
  difference.local().div_(samples);
  difference.local().sub_(torch::outer(mean.index_select(0, layout.global_rows()),
                                       mean.index_select(0, layout.global_columns())));
  difference.local().sub_(target.local());
  return largest_entry(difference);
}

class WhiteningRun {
 public:
  WhiteningRun(const Communicator& world, const RunOptions& run, const WhiteningRunOptions& options)
      : world_(world), options_(options), run_(world, run), files_{run_, options.format == "h5"} {}

  void run() {
    begin("mean");
    rows_.emplace(run_.placement(), options_.data, options_.scale);
    type_ = rows_->type();
    products_ = options_.all_double ? torch::kFloat64 : type_;
    low_rank_ = without_covariance(options_.solver, options_.components, rows_->features());
    const auto as = low_rank_ ? products_ : type_;
    const auto on_read = [this](bool reading) { run_.timers().begin(reading ? "read" : phase_); };
    const auto stream =
        rows_->stream(as, on_read, low_rank_ ? kComponentsPieceBytes : kWhiteningPieceBytes);
    check_shape(stream);
    if (low_rank_) {
      // Its passes free and allocate the same sizes for every piece; the covariance's do not, and
      // would leave their parts of it where others do not fit.
      keep_freed_memory();
      require_memory_for_components(stream.features());
    } else {
      require_memory(world_, stream.rows(), stream.features());
    }
    // Few rows of processes: on one a rank's samples need not travel.
    const auto [columns, rows] = ProcessGrid::squarest(world_.size());
    grid_ = std::make_shared<const ProcessGrid>(world_, rows, columns);
    log_info("{} samples of {} features on {} ranks, {}", stream.rows(), stream.features(),
             world_.size(),
             low_rank_ ? "by passes over the rows, without their covariance"
                       : format_text("grid {}x{}", rows, columns));

    const auto moments = feature_moments(run_.placement(), rows_->stream_for_moments(as, on_read));
    check_moments(stream, moments);
    run_.claim({.inputs = {options_.data},
                .outputs = {files_.file_name("whitened"), files_.file_name(transform_name()),
                            "mean.npy", "eigenvalues.npy"}});
    const auto fit = find(stream, moments.mean);
    log_info("{}", fit.transform.solver);
    begin("transform");
    apply(stream, moments.mean, fit);
    begin("write");
    write_transform(stream, moments, fit.transform);
    finish(stream, fit);
  }

 private:
  /// Reading and writing within a phase are timed apart from it.
  void begin(const std::string& phase) {
    phase_ = phase;
    run_.phase(phase);
  }

  void check_shape(const RowStream& stream) {
    on_all_ranks(world_, [&] {
      if (stream.rows() < 2 || stream.features() < 1) {
        throw InputError("'" + options_.data + "' has " + std::to_string(stream.rows()) +
                         " samples of " + std::to_string(stream.features()) +
                         " features; whitening needs at least two samples and a feature");
      }
      if (options_.components > std::min(stream.rows(), stream.features())) {
        throw InputError("--components is " + std::to_string(options_.components) + " but '" +
                         options_.data + "' has " + std::to_string(stream.rows()) + " samples of " +
                         std::to_string(stream.features()) +
                         " features; expected at most the smaller number");
      }
      if (options_.solver == WhiteningSolver::kRandomized && options_.components == 0) {
        throw OptionError("--solver randomized needs --components, the number that is wanted");
      }
      image_shape_ = options_.image_shape.empty() ? rows_->shape() : options_.image_shape;
      std::int64_t pixels = 1;
      for (const std::int64_t size : image_shape_) {
        pixels *= size;
      }
      if (pixels != stream.features()) {
        throw InputError("--image-shape holds " + std::to_string(pixels) +
                         " numbers but the samples of '" + options_.data + "' have " +
                         std::to_string(stream.features()));
      }
    });
  }

  void require_memory_for_components(std::int64_t features) const {
    require_memory(
        world_, MemoryNeed{count_text(features) + " features need", [&](std::int64_t ranks) {
                             return randomized_bytes(options_.components, options_.passes, features,
                                                     ranks) +
                                    static_cast<double>(kWhiteningCopies * kComponentsPieceBytes);
                           }});
  }

  void check_moments(const RowStream& stream, const FeatureMoments& moments) {
    if (moments.constant == stream.features()) {
      throw Error(ExitCode::kInput,
                  "'" + options_.data + "' is constant: all " + std::to_string(stream.rows()) +
                      " samples are equal, there is nothing to whiten",
                  /*agreed=*/true);
    }
    if (moments.constant > 0) {
      run_.warn(std::to_string(moments.constant) + " of " + std::to_string(stream.features()) +
                " features are constant; only epsilon keeps their components finite");
    }
    if (stream.rows() <= stream.features()) {
      run_.warn(std::to_string(stream.rows()) + " samples cannot vary in all " +
                std::to_string(stream.features()) + " directions");
    }
  }

  WhiteningFit find(const RowStream& stream, const torch::Tensor& mean) {
    const WhiteningOptions whitening = {.method = options_.method,
                                        .components = options_.components,
                                        .epsilon = options_.epsilon,
                                        .products = products_,
                                        .passes = options_.passes,
                                        .verify = options_.check};
    const WhiteningEvents events = {.phase = [this](const std::string& phase) { begin(phase); },
                                    .progress =
                                        [&](const RowPiece& piece) {
                                          run_.progress(phase_, stream.own_rows(), piece.range.end,
                                                        "");
                                        }};
    return low_rank_ ? fit_randomized(run_.placement(), stream, mean, grid_, whitening, type_,
                                      options_.seed, events)
                     : fit_exact(run_.placement(), stream, mean, grid_, whitening, type_, events);
  }

  std::string transform_name() const {
    return low_rank_ && options_.method == WhiteningMethod::kZca ? "components" : "transform";
  }

  static std::string advice(double epsilon) {
    return "directions of too little variance are blown up; raise --epsilon (now " +
           short_number(epsilon) + ") or keep fewer --components";
  }

  void apply(const RowStream& stream, const torch::Tensor& mean, const WhiteningFit& fit) {
    // Of a zca without the covariance only what lies along the components is looked at: the whole
    // would be D x D.
    const bool along = low_rank_ && options_.method == WhiteningMethod::kZca;
    std::optional<GramAccumulator> outputs;
    torch::Tensor sums;
    torch::Tensor vectors;
    if (options_.check) {
      const auto width = along ? fit.transform.eigenvalues.numel() : fit.map->width();
      const auto placement = run_.placement();
      outputs.emplace(grid_, placement, width);
      sums = torch::zeros({width}, placement.options(torch::kFloat64));
      vectors = along ? placement.to_device(whole_components(fit.transform), "transform")
                      : torch::Tensor();
    }
    const auto measure = [&](const torch::Tensor& rows) {
      const auto seen = (along ? rows.to(torch::kFloat64).matmul(vectors) : rows);
      outputs->add(seen);
      sums.add_(seen.sum(0, false, torch::kFloat64));
    };
    const auto judge = [&] {
      const WhiteningOptions target = {.method = along ? WhiteningMethod::kPca : options_.method,
                                       .epsilon = fit.epsilon};
      metrics_["covariance_error"] = covariance_error(
          outputs->take_sum(), run_.placement().to_host(sums, "moments"),
          static_cast<double>(stream.rows()), whitened_covariance(fit.transform, target));
      metrics_["residual"] = fit.transform.residual;
      metrics_["orthogonality"] = fit.transform.orthogonality;
      require_passed(fit.epsilon);
    };
    using Measure = std::function<void(const torch::Tensor&)>;
    write_whitened(world_, run_, files_, stream, mean, *fit.map, type_, advice(fit.epsilon),
                   options_.check ? Measure(measure) : Measure(),
                   options_.check ? std::function<void()>(judge) : std::function<void()>());
  }

  /// What `--check` measured, the same on all ranks, against what arithmetic can keep.
  void require_passed(double epsilon) const {
    const std::map<std::string, double> most = {
        {"covariance_error", covariance_bound()},
        // Passes over the rows stop before they converge to the last digit.
        {"residual", low_rank_ ? 1e-2 : 1e-9},
        {"orthogonality", 1e-9}};
    for (const auto& [name, bound] : most) {
      const double found = metrics_.at(name).get<double>();
      if (!(found <= bound)) {
        throw Error(ExitCode::kNumerical,
                    "--check: " + name + " is " + short_number(found) +
                        ", which should be at most " + short_number(bound) + ": " +
                        (low_rank_ ? "the spectrum decays too slowly for so few passes; "
                                     "ask for fewer --components or --solver exact"
                                   : advice(epsilon)),
                    /*agreed=*/true);
      }
    }
  }

  double covariance_bound() const {
    if (low_rank_) {
      return 1e-2;  // the variance along a direction is off by the square of its residual's share
    }
    return type_ == torch::kFloat64 ? 1e-5 : 1e-3;
  }

  void write_transform(const RowStream& stream, const FeatureMoments& moments,
                       const WhiteningTransform& transform) {
    const RowPartition partition(stream.features(), world_.size());
    const RowRange own = partition.range(world_.rank());
    const auto name = transform_name();
    const auto rows =
        to_row_blocks(name == "transform" ? transform.matrix : transform.components, partition);
    const auto writer = files_.create(world_, name, torch::kFloat64, rows.size(1), rows.size(0));
    writer->append(rows);
    writer->commit();
    write_npy(world_, run_.file("mean.npy"), moments.mean.narrow(0, own.begin, own.size()));
    const RowRange share =
        RowPartition(transform.eigenvalues.numel(), world_.size()).range(world_.rank());
    write_npy(world_, run_.file("eigenvalues.npy"),
              transform.eigenvalues.narrow(0, share.begin, share.size()));
  }

  void finish(const RowStream& stream, const WhiteningFit& fit) {
    const auto& transform = fit.transform;
    auto& summary = run_.summary();
    summary["metrics"] = metrics_;
    summary["choices"] = {
        {"method", options_.method == WhiteningMethod::kZca ? "zca" : "pca"},
        {"solver", transform.solver},
        {"grid", std::to_string(grid_->rows()) + "x" + std::to_string(grid_->columns())},
        {"samples", stream.rows()},
        {"features", stream.features()},
        {"scale", options_.scale},
        {"components", transform.eigenvalues.numel()},
        {"epsilon", fit.epsilon},
        {"explained_variance", transform.eigenvalues.sum().item<double>() / fit.variance},
        {"product", fit.product == torch::kFloat64 ? "double" : "float"},
        {"precision", type_ == torch::kFloat64 ? "double" : "float"}};
    if (!low_rank_) {
      summary["choices"]["covariance"] =
          fit.covariance_products == torch::kFloat64 ? "double" : "float";
      summary["choices"]["covariance_rounding"] = fit.covariance_rounding;
    }
    if (low_rank_) {
      summary["choices"]["rest_variance"] = fit.rest_variance;
    }
    for (const auto& [name, value] : metrics_.items()) {
      log_info("  {:<18} {:.3g}", name, value.get<double>());
    }
    run_.finish([&](const nlohmann::json& whole) {
      return whitening_report(transform, fit.variance, image_shape_, whole);
    });
  }

  const Communicator& world_;
  const WhiteningRunOptions& options_;
  Run run_;
  WhiteningFiles files_;
  std::string phase_;
  std::optional<WhiteningRows> rows_;
  bool low_rank_ = false;
  torch::ScalarType products_ = torch::kFloat64;
  torch::ScalarType type_ = torch::kFloat32;
  std::shared_ptr<const ProcessGrid> grid_;
  std::vector<std::int64_t> image_shape_;
  nlohmann::json metrics_ = nlohmann::json::object();
};

}  // namespace

void require_memory(const Communicator& world, std::int64_t samples, std::int64_t features) {
  const double entries = std::pow(static_cast<double>(features), 2);
  require_memory(world,
                 MemoryNeed{count_text(features) + " features need", [&](std::int64_t ranks) {
                              const double whole = sums_whole(samples, features, ranks) ? 1 : 0;
                              const auto parts = static_cast<double>(ranks);
                              return entries * std::max(static_cast<double>(kEntryBytes) / parts,
                                                        whole * (8 + 16 / parts)) +
                                     static_cast<double>(kWhiteningCopies * kWhiteningPieceBytes);
                            }});
}

ExitCode run_whitening(const Communicator& world, const RunOptions& run,
                       const WhiteningRunOptions& options) {
  ProcessGrid::require(world.size());
  WhiteningRun(world, run, options).run();
  return ExitCode::kDone;
}

}  // namespace eigenscale
