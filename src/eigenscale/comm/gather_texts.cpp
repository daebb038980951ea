#include "eigenscale/comm/gather_texts.h"

#include <cstring>

namespace eigenscale {

std::vector<std::string> gather_texts(const Communicator& communicator, const std::string& own) {
  const bool root = communicator.rank() == 0;
  const std::size_t ranks = communicator.size();
  const auto bytes = static_cast<std::int64_t>(own.size());
  auto sizes = torch::empty({communicator.size()}, torch::kInt64);
  communicator.all_gather(sizes, torch::full({1}, bytes, torch::kInt64),
                          Communicator::Counts(ranks, 1));
  auto input = torch::empty({bytes}, torch::kUInt8);
  std::memcpy(input.data_ptr(), own.data(), own.size());
  Communicator::Counts sent(ranks, 0);
  Communicator::Counts received(ranks, 0);
  sent.front() = bytes;
  if (root) {
    const auto* first = sizes.data_ptr<std::int64_t>();
    received.assign(first, first + ranks);
  }
  std::int64_t total = 0;
  for (const std::int64_t size : received) {
    total += size;
  }
  const auto output = torch::empty({total}, torch::kUInt8);
  communicator.all_to_all(output, input, received, sent);
  std::vector<std::string> texts;
  const auto* next = reinterpret_cast<const char*>(output.data_ptr<std::uint8_t>());
  for (std::size_t rank = 0; root && rank < ranks; ++rank) {
    texts.emplace_back(next, received[rank]);
    next += received[rank];
  }
  return texts;
}

}  // namespace eigenscale
