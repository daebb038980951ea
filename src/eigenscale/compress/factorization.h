#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/nn/saved_model.h"

namespace eigenscale {

struct LayerRank {
  std::string layer;
  std::int64_t full = 0;  ///< the smaller side of its matrix
  std::int64_t rank = 0;  ///< that holds the energy
  bool factorized = false;
};

/// [local] Replaces a layer W (m outputs x n = inputs times kernel) by two, W ~ A B with A m x r
/// and B r x n, where that has fewer numbers: r (m + n) < m n. B, named NAME-basis, is a layer of
/// the old kernel with r outputs and no bias; A keeps the name and the bias and is linear or a 1 x
/// 1 convolution. r is the smallest rank whose singular values hold the share `energy` of the sum
/// of *squares* (1: all but rounding). Alvarez and Salzmann, Compression-aware training, NIPS 2017.
/// One entry for each layer.
std::vector<LayerRank> factorize(SavedModel& model, double energy);

}  // namespace eigenscale
