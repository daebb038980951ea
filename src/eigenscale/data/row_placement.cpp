#include "eigenscale/data/row_placement.h"

namespace eigenscale {

RowPlacement place_rows(const Communicator& communicator, std::int64_t own_rows) {
  const auto own = torch::full({1}, own_rows, torch::kInt64).to(communicator.device());
  const auto counts = own.new_empty({communicator.size()});
  communicator.all_gather(counts, own, Communicator::Counts(communicator.size(), 1));
  const auto host = counts.cpu();
  return {host.narrow(0, 0, communicator.rank()).sum().item<std::int64_t>(),
          host.sum().item<std::int64_t>()};
}

}  // namespace eigenscale
