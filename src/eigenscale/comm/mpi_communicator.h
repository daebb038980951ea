#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Host tensors over MPI. Borrows its MPI_Comm: freeing one is collective, so those made by
/// `split` are freed by the Environment at finalise. The blocking forms call MPI's blocking
/// collectives, but for large sums over several hosts; the asynchronous ones its non-blocking
/// collectives, which Open MPI advances only inside MPI calls (`Work::test`). Messages above
/// `chunk` elements go in several calls, so counts are 64-bit. Used by one thread at a time.
class MpiCommunicator final : public Communicator {
 public:
  static constexpr std::int64_t kChunk = std::int64_t{1} << 30;

  /// Bytes from which a sum over several hosts is MPI_Iallreduce's: Open MPI 4.1's blocking one
  /// takes up to twice as long over links of 100 Mbit/s (docs/performance.md).
  static constexpr std::int64_t kLargeSum = std::int64_t{256} << 10;

  /// Where the ranks are; to be found out with the first large sum, but for tests.
  enum class Hosts { kUnknown, kOne, kSeveral };

  explicit MpiCommunicator(MPI_Comm handle, std::int64_t chunk = kChunk,
                           Hosts hosts = Hosts::kUnknown);

  MPI_Comm handle() const { return handle_; }
  /// [collective the first time, then local] Ranks of this one's host.
  int ranks_on_host() const;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  torch::Device device() const override { return torch::kCPU; }
  std::unique_ptr<Communicator> split(int color, int key) const override;

  std::unique_ptr<Work> start_all_reduce(torch::Tensor tensor, ReduceOp op) const override;
  std::unique_ptr<Work> start_all_gather(torch::Tensor output, torch::Tensor input,
                                         Counts counts) const override;
  std::unique_ptr<Work> start_reduce_scatter(torch::Tensor output, torch::Tensor input, ReduceOp op,
                                             Counts counts) const override;
  std::unique_ptr<Work> start_broadcast(torch::Tensor tensor, int root) const override;
  std::unique_ptr<Work> start_reduce(torch::Tensor tensor, ReduceOp op, int root) const override;
  std::unique_ptr<Work> start_all_to_all(torch::Tensor output, torch::Tensor input,
                                         Counts output_counts, Counts input_counts) const override;
  std::unique_ptr<Work> start_barrier() const override;
  std::unique_ptr<Work> start_shift(torch::Tensor output, torch::Tensor input,
                                    int distance) const override;

  void all_reduce(const torch::Tensor& tensor, ReduceOp op = ReduceOp::kSum) const override;
  void all_gather(const torch::Tensor& output, const torch::Tensor& input,
                  Counts counts) const override;
  void reduce_scatter(const torch::Tensor& output, const torch::Tensor& input, ReduceOp op,
                      Counts counts) const override;
  void broadcast(const torch::Tensor& tensor, int root) const override;
  void reduce(const torch::Tensor& tensor, ReduceOp op, int root) const override;
  void all_to_all(const torch::Tensor& output, const torch::Tensor& input, Counts output_counts,
                  Counts input_counts) const override;
  void barrier() const override;

 private:
  /// [collective]
  bool spans_hosts() const;

  MPI_Comm handle_;
  int rank_ = 0;
  int size_ = 1;
  std::int64_t chunk_;
  mutable Hosts hosts_;
  mutable int ranks_on_host_ = 0;
};

/// The MPI communicator under `communicator`; std::invalid_argument when it is not MPI's.
MPI_Comm mpi_handle(const Communicator& communicator);

/// [collective] A duplicate of it for libraries that do not look at MPI's error codes (BLACS,
/// ELPA): there an error ends all ranks with exit code 5. Made once; the Environment frees it.
MPI_Comm library_handle(const Communicator& communicator);

/// [collective] Frees all communicators that `MpiCommunicator::split` and `library_handle`
/// made.
void free_split_communicators();

}  // namespace eigenscale
