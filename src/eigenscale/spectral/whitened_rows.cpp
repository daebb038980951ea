#include "eigenscale/spectral/whitened_rows.h"

#include "eigenscale/comm/finite.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/spectral/centring.h"

namespace eigenscale {

std::unique_ptr<RowWriter> WhiteningFiles::create(const Communicator& communicator,
                                                  const std::string& name, torch::ScalarType type,
                                                  std::int64_t width, std::int64_t own_rows) const {
  const RowArray array = {.path = run.file(file_name(name)),
                          .dataset = hdf5 ? name : "",
                          .type = type,
                          .row_shape = {width},
                          .own_rows = own_rows};
  return hdf5 ? create_hdf5(communicator, array) : create_npy(communicator, array);
}

void write_whitened(const Communicator& communicator, Run& run, const WhiteningFiles& files,
                    const RowStream& stream, const torch::Tensor& mean, const WhiteningMap& map,
                    torch::ScalarType type, const std::string& advice,
                    const std::function<void(const torch::Tensor& rows)>& on_rows,
                    const std::function<void()>& before_end) {
  const auto writer = files.create(communicator, "whitened", type, map.width(), stream.own_rows());
  const auto placement = run.placement();
  const Centring centring(placement.to_device(mean, "mean"));
  bool finite = true;
  stream.for_each_piece([&](const RowPiece& piece) {
    // What is measured is what is written.
    const auto whitened = map.apply(centring(piece.rows.to(map.type()))).to(type);
    const auto own = placement.to_host(whitened, "whitened rows");
    finite = finite && all_finite(own);
    if (on_rows) {
      on_rows(whitened);
    }
    communicator.barrier();  // or `append` would wait for who still transforms
    run.timers().begin("write");
    writer->append(own);
    run.timers().begin("transform");
    run.progress("transform", stream.own_rows(), piece.range.end, "");
  });
  if (all_reduce(communicator, std::int64_t{finite ? 0 : 1}) > 0) {
    throw Error(ExitCode::kNumerical,
                "the whitened samples hold values that are not finite: " + advice, /*agreed=*/true);
  }
  if (before_end) {
    before_end();
  }
  run.timers().begin("write");
  writer->commit();
  run.timers().begin("transform");
}

}  // namespace eigenscale
