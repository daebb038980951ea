#include "eigenscale/spectral/whitening_run.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/finite.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/data/row_writer.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/spectral/streamed_covariance.h"
#include "eigenscale/spectral/whitening_report.h"

namespace eigenscale {
namespace {

// Bytes of a rank beside the matrices of D x D: pieces of rows and their copies.
constexpr std::int64_t kPieceBytes = std::int64_t{64} << 20;
constexpr std::int64_t kRowBytes = 6 * kPieceBytes;
// Bytes for each entry of D x D / P: covariance, its product, the solver's copy, vectors in two
// layouts and what travels between them, in double.
constexpr std::int64_t kEntryBytes = 80;
constexpr double kDefaultEpsilonShare = 1e-6;

double largest_entry(const DistributedMatrix& matrix) {
  const auto& local = matrix.local();
  return all_reduce(matrix.layout().grid->all(),
                    local.numel() > 0 ? local.abs().max().item<double>() : 0.0, ReduceOp::kMax);
}

double trace(const DistributedMatrix& matrix) {
  const auto own = own_diagonal(matrix.layout());
  return all_reduce(matrix.layout().grid->all(),
                    matrix.local().index({own.rows, own.columns}).sum().item<double>());
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
      : world_(world), options_(options), run_(world, run) {}

  void run() {
    begin("mean");
    source_ = open_sample_source(world_, options_.data);
    const bool is_double = source_->scalar_type() == torch::kFloat64;
    type_ = is_double ? torch::kFloat64 : torch::kFloat32;
    const RowPartition partition(source_->rows(), world_.size());
    const FileRows own(*source_, partition.range(world_.rank()), options_.scale);
    // Pieces are few and large, and their products outweigh reading: not ahead, half the memory.
    const RowStream stream(
        world_, own,
        {.type = torch::kFloat64,
         .piece_bytes = piece_bytes(),
         .read_ahead = false,
         .on_read = [this](bool reading) { run_.timers().begin(reading ? "read" : phase_); }});
    check_shape(stream);
    require_memory(world_, stream.features());
    // Few rows of processes: on one a rank's samples need not travel.
    const auto [columns, rows] = ProcessGrid::squarest(world_.size());
    grid_ = std::make_shared<const ProcessGrid>(world_, rows, columns);
    spdlog::info("{} samples of {} features on {} ranks, grid {}x{}", stream.rows(),
                 stream.features(), world_.size(), rows, columns);

    const auto moments = feature_moments(world_, stream);
    check_moments(stream, moments);
    const std::string ending = options_.format == "h5" ? ".h5" : ".npy";
    run_.claim(
        {.inputs = {options_.data},
         .outputs = {"whitened" + ending, "transform" + ending, "mean.npy", "eigenvalues.npy"}});
    begin("covariance");
    auto covariance = covariance_of(stream, moments.mean);
    const double variance = trace(covariance);
    settle_epsilon(variance, stream.features());
    begin("eigenproblem");
    const auto transform = whitening_transform(covariance, whitening_);
    covariance = {};
    spdlog::info("{}", transform.solver);
    begin("transform");
    apply(stream, moments.mean, transform);
    begin("write");
    write_transform(stream, moments, transform);
    finish(stream, transform, variance);
  }

 private:
  /// Reading and writing within a phase are timed apart from it.
  void begin(const std::string& phase) {
    phase_ = phase;
    run_.phase(phase);
  }

  /// Smaller pieces where the blocks of D x D are small, so that pieces never are most of the
  /// memory.
  std::int64_t piece_bytes() const {
    std::int64_t features = 1;
    for (const std::int64_t size : source_->row_shape()) {
      features *= size;
    }
    return std::clamp(features * features / world_.size(), kPieceBytes / 2, kPieceBytes);
  }

  void check_shape(const RowStream& stream) {
    on_all_ranks(world_, [&] {
      if (stream.rows() < 2 || stream.features() < 1) {
        throw InputError("'" + options_.data + "' has " + std::to_string(stream.rows()) +
                         " samples of " + std::to_string(stream.features()) +
                         " features; whitening needs at least two samples and a feature");
      }
      if (options_.components > stream.features()) {
        throw InputError("--components is " + std::to_string(options_.components) + " but '" +
                         options_.data + "' has " + std::to_string(stream.features()) +
                         " features");
      }
      image_shape_ = options_.image_shape.empty() ? source_->row_shape() : options_.image_shape;
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

  DistributedMatrix covariance_of(const RowStream& stream, const torch::Tensor& mean) {
    GramAccumulator products(grid_, stream.features());
    stream.for_each_piece([&](const RowPiece& piece) {
      products.add(piece.rows - mean);
      run_.progress("covariance", stream.own_rows(), piece.range.end, "");
    });
    auto covariance = products.take_sum();
    covariance.local().div_(static_cast<double>(stream.rows()));
    return covariance;
  }

  void settle_epsilon(double variance, std::int64_t features) {
    whitening_ = {.method = options_.method,
                  .components = options_.components,
                  .epsilon = options_.epsilon >= 0
                                 ? options_.epsilon
                                 : kDefaultEpsilonShare * variance / static_cast<double>(features),
                  .verify = options_.check};
  }

  RowArray array(const std::string& name, torch::ScalarType type,
                 std::vector<std::int64_t> row_shape, std::int64_t own_rows) const {
    const bool hdf5 = options_.format == "h5";
    return {.path = run_.file(name + (hdf5 ? ".h5" : ".npy")),
            .dataset = hdf5 ? name : "",
            .type = type,
            .row_shape = std::move(row_shape),
            .own_rows = own_rows};
  }

  std::unique_ptr<RowWriter> create(const RowArray& array) const {
#ifdef EIGENSCALE_HAVE_HDF5
    if (!array.dataset.empty()) {
      return create_hdf5(world_, array);
    }
#endif
    return create_npy(world_, array);
  }

  void apply(const RowStream& stream, const torch::Tensor& mean,
             const WhiteningTransform& transform) {
    const std::int64_t width = transform.matrix.layout().columns;
    const auto writer = create(array("whitened", type_, {width}, stream.own_rows()));
    std::optional<GramAccumulator> outputs;
    if (options_.check) {
      outputs.emplace(grid_, width);
    }
    auto sums = torch::zeros({width}, torch::kFloat64);
    bool finite = true;
    const auto matrix = transform.matrix.to(transform_type(transform));
    const bool symmetric = options_.method == WhiteningMethod::kZca;
    stream.for_each_piece([&](const RowPiece& piece) {
      const auto& rows = piece.rows;
      const auto samples = distribute_samples(grid_, rows.sub(mean).to(matrix.scalar_type()));
      const auto product = multiply(matrix, samples, !symmetric, false);
      // What is measured is what is written.
      const auto own = own_rows_of(product, rows.size(0)).to(type_);
      if (outputs) {
        outputs->add(own);
        sums.add_(own.to(torch::kFloat64).sum(0));
      }
      finite = finite && all_finite(own);
      run_.timers().begin("write");
      writer->append(own);
      run_.timers().begin(phase_);
      run_.progress("transform", stream.own_rows(), piece.range.end, "");
    });
    require_all_finite(finite);
    if (outputs) {
      metrics_["covariance_error"] =
          covariance_error(outputs->take_sum(), sums, static_cast<double>(stream.rows()),
                           whitened_covariance(transform, whitening_));
      metrics_["residual"] = transform.residual;
      metrics_["orthogonality"] = transform.orthogonality;
      require_passed();
    }
    run_.timers().begin("write");
    writer->commit();
    run_.timers().begin(phase_);
  }

  /// [collective] Before the file of whitened samples gets its name.
  void require_all_finite(bool finite) const {
    if (all_reduce(world_, std::int64_t{finite ? 0 : 1}) > 0) {
      throw Error(ExitCode::kNumerical,
                  "the whitened samples hold values that are not finite: directions of too little "
                  "variance are blown up; raise --epsilon (now " +
                      short_number(whitening_.epsilon) + ") or keep fewer --components",
                  /*agreed=*/true);
    }
  }

  /// What `--check` measured, the same on all ranks, against what arithmetic can keep.
  void require_passed() const {
    const std::map<std::string, double> most = {
        {"covariance_error", type_ == torch::kFloat64 ? 1e-5 : 1e-3},
        {"residual", 1e-9},
        {"orthogonality", 1e-9}};
    for (const auto& [name, bound] : most) {
      const double found = metrics_.at(name).get<double>();
      if (!(found <= bound)) {
        throw Error(ExitCode::kNumerical,
                    "--check: " + name + " is " + short_number(found) +
                        ", which should be at most " + short_number(bound) +
                        ": directions of too little variance are blown up; "
                        "raise --epsilon (now " +
                        short_number(whitening_.epsilon) + ") or keep fewer --components",
                    /*agreed=*/true);
      }
    }
  }

  /// Rounding in single precision is blown up by the spread of the whitened directions. A digit
  /// below 1e-4, the covariance_error that single precision is meant to have, the product of
  /// samples and transform changes to double.
  torch::ScalarType transform_type(const WhiteningTransform& transform) const {
    constexpr double kError = 1e-5;
    const auto& values = transform.eigenvalues;
    const double spread = std::sqrt((values[0].item<double>() + whitening_.epsilon) /
                                    (values[-1].item<double>() + whitening_.epsilon));
    // Single precision also cannot hold the scale of data far from 1.
    const double scale = std::sqrt(values[0].item<double>() + whitening_.epsilon);
    const bool holds = scale > 1e-15 && scale < 1e15 && spread * 0x1p-24 <= kError;
    return type_ == torch::kFloat32 && holds ? torch::kFloat32 : torch::kFloat64;
  }

  void write_transform(const RowStream& stream, const FeatureMoments& moments,
                       const WhiteningTransform& transform) {
    const RowPartition partition(stream.features(), world_.size());
    const RowRange own = partition.range(world_.rank());
    const auto rows = to_row_blocks(transform.matrix, partition);
    const auto writer = create(array("transform", torch::kFloat64, {rows.size(1)}, rows.size(0)));
    writer->append(rows);
    writer->commit();
    write_npy(world_, run_.file("mean.npy"), moments.mean.narrow(0, own.begin, own.size()));
    const RowRange share =
        RowPartition(transform.eigenvalues.numel(), world_.size()).range(world_.rank());
    write_npy(world_, run_.file("eigenvalues.npy"),
              transform.eigenvalues.narrow(0, share.begin, share.size()));
  }

  void finish(const RowStream& stream, const WhiteningTransform& transform, double variance) {
    auto& summary = run_.summary();
    summary["metrics"] = metrics_;
    summary["choices"] = {
        {"solver", transform.solver},
        {"grid", std::to_string(grid_->rows()) + "x" + std::to_string(grid_->columns())},
        {"samples", stream.rows()},
        {"features", stream.features()},
        {"components", transform.eigenvalues.numel()},
        {"epsilon", whitening_.epsilon},
        {"explained_variance", transform.eigenvalues.sum().item<double>() / variance},
        {"product", transform_type(transform) == torch::kFloat64 ? "double" : "float"},
        {"precision", type_ == torch::kFloat64 ? "double" : "float"}};
    for (const auto& [name, value] : metrics_.items()) {
      spdlog::info("  {:<18} {:.3g}", name, value.get<double>());
    }
    run_.finish([&](const nlohmann::json& whole) {
      return whitening_report(transform, variance, image_shape_, whole);
    });
  }

  const Communicator& world_;
  const WhiteningRunOptions& options_;
  Run run_;
  std::string phase_;
  std::unique_ptr<SampleSource> source_;
  torch::ScalarType type_ = torch::kFloat32;
  std::shared_ptr<const ProcessGrid> grid_;
  std::vector<std::int64_t> image_shape_;
  WhiteningOptions whitening_;
  nlohmann::json metrics_ = nlohmann::json::object();
};

}  // namespace

void require_memory(const Communicator& world, std::int64_t features) {
  const double matrices =
      static_cast<double>(kEntryBytes) * std::pow(static_cast<double>(features), 2);
  require_memory(world,
                 MemoryNeed{count_text(features) + " features need", [&](std::int64_t ranks) {
                              return matrices / static_cast<double>(ranks) +
                                     static_cast<double>(kRowBytes);
                            }});
}

ExitCode run_whitening(const Communicator& world, const RunOptions& run,
                       const WhiteningRunOptions& options) {
  ProcessGrid::require(world.size());
  WhiteningRun(world, run, options).run();
  return ExitCode::kDone;
}

}  // namespace eigenscale
