#include "eigenscale/spectral/distributed_matrix_function.h"

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/spectral/matrix_function.h"
#include "spectra.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

TEST(DistributedMatrixFunctionTest, EqualsTheLocalOne) {
  const auto [rows, columns] = ProcessGrid::squarest(world().size());
  const auto grid = std::make_shared<const ProcessGrid>(world(), rows, columns);
  // 32 is the block size, 61 a prime.
  for (const std::int64_t n : {1, 2, 31, 32, 33, 61}) {
    for (const auto& function :
         {SpectralFunction::inverse_square_root(), SpectralFunction::logarithm(),
          SpectralFunction::projector(n / 2)}) {
      torch::manual_seed(n);
      // Clearly apart from each other at the projector's cut only.
      const auto index = torch::arange(n, torch::kFloat64);
      const auto values =
          torch::where(index < n / 2, torch::full_like(index, 3), torch::full_like(index, 1)) +
          0.1 * torch::rand({n}, torch::kFloat64);
      const auto whole = test::with_eigenvalues(values);
      const auto gradient = torch::randn({n, n}, torch::kFloat64);
      auto leaf = whole.clone().requires_grad_(true);
      const auto expected = matrix_function(leaf, function);
      expected.backward(gradient);

      const RowPartition partition(n, world().size());
      const auto range = partition.range(world().rank());
      const auto own = [&](const torch::Tensor& all) {
        return all.narrow(0, range.begin, range.size()).contiguous();
      };
      const BlockCyclicLayout layout{n, n, 5, 3, grid};
      const DistributedMatrixFunction distributed(from_row_blocks(own(whole), partition, layout),
                                                  function);
      const auto difference = [&](const DistributedMatrix& matrix, const torch::Tensor& reference) {
        const auto rest = to_row_blocks(matrix, partition) - own(reference);
        return rest.numel() > 0 ? rest.abs().max().item<double>() : 0.0;
      };
      EXPECT_LE(difference(distributed.value(), expected.detach()), 1e-10) << n;
      EXPECT_LE(difference(distributed.backward(from_row_blocks(own(gradient), partition, layout)),
                           leaf.grad()),
                1e-10)
          << n;
    }
  }
}

}  // namespace
}  // namespace eigenscale
