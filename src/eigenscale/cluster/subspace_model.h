#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_provider.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/nn/feature_curves.h"

namespace eigenscale {

/// K subspaces, and all that turns a row of a data file into the unit vector of features that is
/// compared with them: what labels new data.
struct SubspaceModel {
  torch::Tensor bases;                   ///< K x d x s, orthonormal columns
  torch::Tensor spectra;                 ///< K x some, energy along the leading directions, per row
  torch::Tensor sizes;                   ///< K, rows of each cluster when it was fitted
  double objective = 0;                  ///< mean squared distance of the rows to their subspace
  double scale = 1;                      ///< factor on every value of the file
  double constant = 0;                   ///< appended feature; 0: none
  FeatureCurves curves;                  ///< of the file's D features, first; undefined: not
  torch::Tensor directions;              ///< D x r, rows are multiplied by it first; undefined: not
  std::shared_ptr<Autoencoder> encoder;  ///< null: none
  torch::Tensor whitening;               ///< r x r, features are multiplied by it; undefined: not

  std::int64_t clusters() const { return bases.size(0); }
  /// Numbers in a row of the file.
  std::int64_t row_width() const;
};

/// [local] Writes `path` (safetensors). OutputError.
void save_subspace_model(const std::filesystem::path& path, const SubspaceModel& model);

/// [local] InputError for a file that is no such model, or one whose parts do not fit each other
/// (shapes, bases that are not orthonormal, numbers that are not finite); names path and what is
/// wrong.
SubspaceModel load_subspace_model(const std::filesystem::path& path);

/// The rows of a file (a provider of them, scaled already) as features before they are scaled to
/// unit length: behind the model's curves, multiplied by its directions, encoded and whitened.
/// Borrows rows and model.
///
/// A row's features depend on the row and its global index alone, to the bit: see SubspaceAssigner.
class FeatureRows final : public RowProvider {
 public:
  /// `first_row` is the global index of the provider's first row.
  FeatureRows(const RowProvider& rows, std::int64_t first_row, const SubspaceModel& model);
  /// Of rows that lie as `placement` says. The model, on the host, is taken there as it is now.
  FeatureRows(const RowProvider& rows, std::int64_t first_row, const SubspaceModel& model,
              const Placement& placement);
  torch::Tensor read(RowRange range, torch::ScalarType type) const override;
  /// Every block that holds one of the rows is mapped once.
  torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                        torch::ScalarType type) const override;
  bool reads_beside_others() const override { return rows_.reads_beside_others(); }

 private:
  bool maps() const {
    return model_.curves.defined() || model_.directions.defined() || model_.encoder ||
           model_.whitening.defined();
  }
  torch::Tensor multiplied(const torch::Tensor& block, const torch::Tensor& by,
                           torch::Tensor& kept) const;
  torch::Tensor map(const torch::Tensor& block) const;

  const RowProvider& rows_;
  std::int64_t first_row_;
  const SubspaceModel& model_;
  std::optional<Placement> device_;       // where it is one
  std::shared_ptr<Autoencoder> encoder_;  // the model's, where the rows are
  FeatureCurves curves_;                  // the same
  mutable torch::Tensor directions_;      // the same, in the type that was last asked for
  mutable torch::Tensor whitening_;       // the same
};

}  // namespace eigenscale
