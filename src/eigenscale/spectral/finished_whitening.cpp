#include "eigenscale/spectral/finished_whitening.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/data/samples.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/spectral/streamed_covariance.h"
#include "eigenscale/spectral/whitening_fit.h"

namespace eigenscale {

FinishedWhitening::FinishedWhitening(const Communicator& communicator, const std::string& directory)
    : communicator_(communicator), directory_(directory) {
  on_all_ranks(communicator, [&] {
    const auto path = std::filesystem::path(directory) / "summary.json";
    std::ifstream file(path);
    if (!file) {
      throw InputError("'" + directory +
                       "' has no summary.json; --apply needs the directory of a finished run of "
                       "eigenscale-whiten");
    }
    try {
      const auto summary = nlohmann::json::parse(file);
      const auto& choices = summary.at("choices");
      if (summary.at("program") != "eigenscale-whiten" || !choices.contains("method")) {
        throw InputError("'" + path.string() +
                         "' is not that of a run that found a transform; --apply needs one of "
                         "eigenscale-whiten without --apply");
      }
      method_ = choices.at("method") == "pca" ? WhiteningMethod::kPca : WhiteningMethod::kZca;
      features_ = choices.at("features").get<std::int64_t>();
      components_ = choices.at("components").get<std::int64_t>();
      scale_ = choices.at("scale").get<double>();
      epsilon_ = choices.at("epsilon").get<double>();
      product_ = choices.at("product") == "float" ? torch::kFloat32 : torch::kFloat64;
      low_rank_ = choices.contains("rest_variance");
      rest_variance_ = low_rank_ ? choices.at("rest_variance").get<double>() : 0;
    } catch (const nlohmann::json::exception& error) {
      throw InputError("'" + path.string() +
                       "' is not a summary of eigenscale-whiten: " + error.what());
    }
    const auto base = low_rank_ && method_ == WhiteningMethod::kZca ? "components" : "transform";
    hdf5_ =
        !std::filesystem::exists(std::filesystem::path(directory) / (base + std::string(".npy")));
  });
}

std::int64_t FinishedWhitening::width() const {
  return method_ == WhiteningMethod::kZca ? features_ : components_;
}

std::string FinishedWhitening::matrix_name() const {
  const std::string base =
      low_rank_ && method_ == WhiteningMethod::kZca ? "components" : "transform";
  return directory_ + "/" + base + (hdf5_ ? ".h5:" + base : ".npy");
}

torch::Tensor FinishedWhitening::own_rows(const std::string& name, std::int64_t rows,
                                          std::int64_t columns) const {
  const auto source = open_sample_source(communicator_, name);
  const RowPartition partition(rows, communicator_.size());
  torch::Tensor result;
  on_all_ranks(communicator_, [&] {
    auto shape = source->row_shape();
    shape.insert(shape.begin(), source->rows());
    const bool vector = columns == 1 && shape.size() == 1;
    const std::vector<std::int64_t> expected =
        vector ? std::vector{rows} : std::vector{rows, columns};
    if (shape != expected || source->scalar_type() != torch::kFloat64) {
      throw InputError("'" + name + "' is not the array that the run in '" + directory_ +
                       "' wrote: found shape " + shape_text(shape) + ", expected " +
                       shape_text(expected) + " doubles");
    }
    const auto own = partition.range(communicator_.rank());
    result = read_samples(*source, own, torch::kFloat64).view({own.size(), columns});
  });
  return result;
}

torch::Tensor FinishedWhitening::whole(const std::string& name, std::int64_t numbers) const {
  const auto own = own_rows(name, numbers, 1);
  auto result = torch::empty({numbers}, torch::kFloat64);
  communicator_.all_gather(result, own.flatten().contiguous(),
                           RowPartition(numbers, communicator_.size()).counts());
  return result;
}

torch::Tensor FinishedWhitening::mean() const { return whole(mean_name(), features_); }

std::unique_ptr<WhiteningMap> FinishedWhitening::map(const Placement& placement,
                                                     const std::shared_ptr<const ProcessGrid>& grid,
                                                     torch::ScalarType type,
                                                     std::int64_t rows) const {
  const auto product = type == torch::kFloat64 ? torch::kFloat64 : product_;
  const bool along = low_rank_ && method_ == WhiteningMethod::kZca;
  const auto own = own_rows(matrix_name(), features_, along ? components_ : width());
  if (low_rank_) {
    const auto eigenvalues =
        along ? whole(directory_ + "/eigenvalues.npy", components_) : torch::Tensor();
    return along ? low_rank_zca(placement, own, features_, eigenvalues, rest_variance_, epsilon_,
                                product)
                 : whole_map(placement, own, features_, product);
  }
  if (transforms_whole(placement, rows, features_)) {
    return whole_map(placement, own, features_, product);
  }
  const auto matrix = from_row_blocks(own, RowPartition(features_, communicator_.size()),
                                      feature_layout(features_, width(), grid));
  return dense_map(placement, matrix, method_ == WhiteningMethod::kZca, rows, product);
}

double FinishedWhitening::bytes(std::int64_t rows, std::int64_t ranks) const {
  // Own rows as they are read; then every rank's copy, or the part of the matrix, as it travels, as
  // it stays, and in the type of the products.
  const auto entries =
      static_cast<double>(features_) * static_cast<double>(low_rank_ ? components_ : width());
  return low_rank_ || sums_whole(rows, features_, ranks)
             ? entries * (16.0 / static_cast<double>(ranks) + 8)
             : entries * 32 / static_cast<double>(ranks);
}

}  // namespace eigenscale
