#pragma once

#include <torch/torch.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/device_runtime.h"

namespace eigenscale::test {

/// One call of NCCL as the double carries it out.
struct TransportCall {
  enum class Kind { kAllReduce, kReduce, kBroadcast, kAllGather, kReduceScatter, kSend, kReceive };
  Kind kind;
  torch::Tensor output;
  torch::Tensor input;
  ReduceOp op = ReduceOp::kSum;
  int peer = 0;  ///< root, or the other side
  const char* name() const;
};

/// One rank's end of a communicator of the double: messages of MPI, each with a head that says what
/// call it belongs to, so that ranks which do not make the same calls find out. Reductions sum in
/// the order of ranks. Every wait looks whether it was aborted.
class DoubleTransport {
 public:
  static NcclId make_id();
  /// Meets the other ranks in a thread of its own: rank 0 of the communicator has made the id.
  DoubleTransport(const NcclId& id, int rank, int size);
  ~DoubleTransport();
  DoubleTransport(const DoubleTransport&) = delete;
  DoubleTransport& operator=(const DoubleTransport&) = delete;

  bool ready() const { return ready_; }
  std::string error() const;
  void abort() { aborted_ = true; }

  /// [from a stream's thread] Calls of a group; a mistake becomes `error()`.
  void carry_out(const std::vector<TransportCall>& calls);

 private:
  struct Head {
    std::int32_t kind;
    std::int32_t op;
    std::int32_t type;
    std::int32_t from;
    std::int64_t bytes;
    std::int64_t sequence;
  };
  struct Aborted {};

  void meet();
  void carry_out_one(const TransportCall& call);
  void post(int to, const Head& head, const void* data);
  std::vector<char> take(int from, const Head& expected);
  std::vector<char> raw_message(int world_source);
  void finish_sends();
  void fail(const std::string& text);
  std::string in_words(const Head& head) const;

  struct Send;
  int tag_;
  int root_;
  int rank_;
  int size_;
  std::vector<int> world_ranks_;
  std::int64_t sequence_ = 0;
  std::vector<std::unique_ptr<Send>> sends_;
  std::atomic<bool> ready_ = false;
  std::atomic<bool> aborted_ = false;
  mutable std::mutex mutex_;
  std::string error_;
  std::thread meeting_;
};

}  // namespace eigenscale::test
