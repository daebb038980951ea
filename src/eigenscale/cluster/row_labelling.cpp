#include "eigenscale/cluster/row_labelling.h"

#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/data/row_placement.h"
#include "eigenscale/data/row_stream.h"
#include "eigenscale/data/row_writer.h"

namespace eigenscale {

RowLabelling label_rows(const Placement& placement, const RowProvider& rows,
                        const torch::Tensor& bases, const std::filesystem::path& directory) {
  const Communicator& world = placement.control();
  const std::int64_t clusters = bases.size(0);
  const RowStream stream(world, rows, {.type = bases.scalar_type()});
  const std::int64_t first_row = place_rows(world, rows.rows()).first;
  const auto writer = [&](const char* name, torch::ScalarType type,
                          std::vector<std::int64_t> row_shape) {
    RowArray array;
    array.path = directory / name;
    array.type = type;
    array.row_shape = std::move(row_shape);
    array.own_rows = rows.rows();
    return create_npy(world, array);
  };
  const auto labels = writer("labels.npy", torch::kInt64, {});
  const auto residuals = writer("residuals.npy", torch::kFloat32, {});
  const auto embedding = writer("embedding.npy", torch::kFloat32, {clusters});

  RowLabelling result{torch::empty({rows.rows()}, torch::kInt64),
                      torch::empty({rows.rows()}, torch::kFloat32),
                      torch::zeros({clusters}, torch::kInt64)};
  const SubspaceAssigner assigner(placement, bases);
  double sum = 0;
  stream.for_each_piece([&](const RowPiece& piece) {
    const std::int64_t count = piece.range.size();
    const auto unit = piece.rows.contiguous();
    RowAssignment found{result.labels.narrow(0, piece.range.begin, count),
                        result.residuals.narrow(0, piece.range.begin, count),
                        torch::empty({count, clusters}, placement.options(torch::kFloat32))};
    torch::Tensor zero_rows;
    if (placement.on_device()) {
      const RowAssignment there{torch::empty({count}, placement.options(torch::kInt64)),
                                torch::empty({count}, placement.options(torch::kFloat32)),
                                found.projections};
      assigner.assign(unit, first_row + piece.range.begin, there);
      found.labels.copy_(placement.to_host(there.labels, "labels"));
      found.residuals.copy_(placement.to_host(there.residuals, "residuals"));
      found.projections = placement.to_host(there.projections, "embedding");
      zero_rows = placement.to_host(zero_rows_on_device(unit, there.residuals), "labels");
    } else {
      assigner.assign(unit, first_row + piece.range.begin, found);
    }
    const auto is_zero = [&](std::int64_t i) {
      return zero_rows.defined() ? zero_rows.data_ptr<bool>()[i] : is_zero_row(unit, i);
    };
    const auto* label = found.labels.data_ptr<std::int64_t>();
    const auto* residual = found.residuals.data_ptr<float>();
    for (std::int64_t i = 0; i < count; ++i) {
      sum += residual[i];
      if (residual[i] == 1 && is_zero(i)) {
        ++result.zero_rows;
      } else {
        ++result.sizes.data_ptr<std::int64_t>()[label[i]];
      }
    }
    labels->append(found.labels);
    residuals->append(found.residuals);
    embedding->append(found.projections);
  });
  labels->commit();
  residuals->commit();
  embedding->commit();
  world.all_reduce(result.sizes);
  result.zero_rows = all_reduce(world, result.zero_rows);
  result.objective =
      all_reduce(world, sum) / static_cast<double>(std::max<std::int64_t>(1, stream.rows()));
  return result;
}

}  // namespace eigenscale
