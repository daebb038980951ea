#include "support/double_transport.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "eigenscale/core/format.h"

namespace eigenscale::test {
namespace {

constexpr auto kPause = std::chrono::microseconds(50);
/// Above the tags of the library's own messages; open for one communicator each.
constexpr int kFirstTag = 1 << 20;
constexpr int kTagsOfRank = 1 << 12;
/// Of sends: a rank without any in a group does not know that there was one.
constexpr std::int64_t kNoSequence = -1;

/// What an id of the double holds.
struct IdContents {
  std::int32_t root;
  std::int32_t tag;
};

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

torch::Tensor flat(const torch::Tensor& tensor) { return tensor.detach().view({-1}); }

std::size_t bytes_of(const torch::Tensor& tensor) { return tensor.nbytes(); }

/// The reduction of a and b. Halves by way of floats: not every libtorch has all of these for them.
torch::Tensor combined(const torch::Tensor& a, const torch::Tensor& b, ReduceOp op) {
  if (a.scalar_type() == torch::kHalf || a.scalar_type() == torch::kBFloat16) {
    return combined(a.to(torch::kFloat32), b.to(torch::kFloat32), op).to(a.scalar_type());
  }
  return op == ReduceOp::kSum   ? a + b
         : op == ReduceOp::kMax ? torch::maximum(a, b)
                                : torch::minimum(a, b);
}

}  // namespace

const char* TransportCall::name() const {
  switch (kind) {
    case Kind::kAllReduce:
      return "ncclAllReduce";
    case Kind::kReduce:
      return "ncclReduce";
    case Kind::kBroadcast:
      return "ncclBroadcast";
    case Kind::kAllGather:
      return "ncclAllGather";
    case Kind::kReduceScatter:
      return "ncclReduceScatter";
    case Kind::kSend:
      return "ncclSend";
    case Kind::kReceive:
      return "ncclRecv";
  }
  return "an unknown call";
}

struct DoubleTransport::Send {
  std::vector<char> bytes;
  MPI_Request request = MPI_REQUEST_NULL;
};

NcclId DoubleTransport::make_id() {
  static int made = 0;
  const int own = world_rank();
  const IdContents contents = {own, kFirstTag + own * kTagsOfRank + made++ % kTagsOfRank};
  NcclId id{};
  std::memcpy(id.data(), &contents, sizeof contents);
  return id;
}

DoubleTransport::DoubleTransport(const NcclId& id, int rank, int size)
    : rank_(rank), size_(size), world_ranks_(size, -1) {
  IdContents contents{};
  std::memcpy(&contents, id.data(), sizeof contents);
  tag_ = contents.tag;
  root_ = contents.root;
  meeting_ = std::thread([this] {
    try {
      meet();
    } catch (const Aborted&) {
      fail("aborted");
    }
  });
}

DoubleTransport::~DoubleTransport() {
  aborted_ = true;
  meeting_.join();
}

std::string DoubleTransport::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void DoubleTransport::fail(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (error_.empty()) {
    error_ = text;
  }
}

// Everybody tells the root who it is, and the root tells everybody.
void DoubleTransport::meet() {
  const std::array<int, 2> own = {rank_, world_rank()};
  if (rank_ != 0) {
    MPI_Send(own.data(), 2, MPI_INT, root_, tag_, MPI_COMM_WORLD);
    const auto table = raw_message(root_);
    std::memcpy(world_ranks_.data(), table.data(), table.size());
  } else {
    world_ranks_[0] = own[1];
    for (int met = 1; met < size_; ++met) {
      const auto message = raw_message(MPI_ANY_SOURCE);
      std::array<int, 2> other{};
      std::memcpy(other.data(), message.data(), sizeof other);
      world_ranks_[other[0]] = other[1];
    }
    for (int other = 1; other < size_; ++other) {
      MPI_Send(world_ranks_.data(), size_ * static_cast<int>(sizeof(int)), MPI_BYTE,
               world_ranks_[other], tag_, MPI_COMM_WORLD);
    }
  }
  ready_ = true;
}

std::vector<char> DoubleTransport::raw_message(int world_source) {
  while (!aborted_) {
    int there = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    MPI_Improbe(world_source, tag_, MPI_COMM_WORLD, &there, &message, &status);
    if (there != 0) {
      int bytes = 0;
      MPI_Get_count(&status, MPI_BYTE, &bytes);
      std::vector<char> contents(bytes);
      MPI_Mrecv(contents.data(), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE);
      return contents;
    }
    std::this_thread::sleep_for(kPause);
  }
  throw Aborted();
}

std::string DoubleTransport::in_words(const Head& head) const {
  TransportCall call{static_cast<TransportCall::Kind>(head.kind), {}, {}};
  return format_text("rank {} is in {} of {} bytes, call {}", head.from, call.name(), head.bytes,
                     head.sequence);
}

void DoubleTransport::post(int to, const Head& head, const void* data) {
  auto& send = *sends_.emplace_back(std::make_unique<Send>());
  send.bytes.resize(sizeof head + static_cast<std::size_t>(head.bytes));
  std::memcpy(send.bytes.data(), &head, sizeof head);
  if (head.bytes > 0) {
    std::memcpy(send.bytes.data() + sizeof head, data, static_cast<std::size_t>(head.bytes));
  }
  MPI_Isend(send.bytes.data(), static_cast<int>(send.bytes.size()), MPI_BYTE, world_ranks_[to],
            tag_, MPI_COMM_WORLD, &send.request);
}

std::vector<char> DoubleTransport::take(int from, const Head& expected) {
  auto message = raw_message(world_ranks_[from]);
  Head head{};
  std::memcpy(&head, message.data(), sizeof head);
  if (head.kind != expected.kind || head.op != expected.op || head.type != expected.type ||
      head.bytes != expected.bytes || head.sequence != expected.sequence) {
    fail("ranks do not make the same calls: " + in_words(expected) + ", and " + in_words(head));
    throw Aborted();
  }
  message.erase(message.begin(), message.begin() + sizeof head);
  return message;
}

void DoubleTransport::finish_sends() {
  for (const auto& send : sends_) {
    int done = 0;
    while (done == 0) {
      if (aborted_) {
        throw Aborted();
      }
      MPI_Test(&send->request, &done, MPI_STATUS_IGNORE);
      if (done == 0) {
        std::this_thread::sleep_for(kPause);
      }
    }
  }
  sends_.clear();
}

void DoubleTransport::carry_out(const std::vector<TransportCall>& calls) {
  if (!error().empty() || aborted_) {
    return;
  }
  try {
    // All that is sent first, so that no receive waits for one of the same group.
    for (const auto& call : calls) {
      if (call.kind == TransportCall::Kind::kSend) {
        post(call.peer,
             {static_cast<std::int32_t>(TransportCall::Kind::kSend), 0, 0, rank_,
              static_cast<std::int64_t>(bytes_of(call.input)), kNoSequence},
             call.input.data_ptr());
      }
    }
    for (const auto& call : calls) {
      if (call.kind == TransportCall::Kind::kReceive) {
        const auto bytes =
            take(call.peer, {static_cast<std::int32_t>(TransportCall::Kind::kSend), 0, 0, rank_,
                             static_cast<std::int64_t>(bytes_of(call.output)), kNoSequence});
        std::memcpy(call.output.data_ptr(), bytes.data(), bytes.size());
      } else if (call.kind != TransportCall::Kind::kSend) {
        carry_out_one(call);
      }
    }
    finish_sends();
  } catch (const Aborted&) {
    fail("aborted");
  }
}

void DoubleTransport::carry_out_one(const TransportCall& call) {
  using Kind = TransportCall::Kind;
  const bool reduces = call.kind == Kind::kAllReduce || call.kind == Kind::kReduce ||
                       call.kind == Kind::kReduceScatter;
  const auto head = [&](std::size_t bytes) {
    return Head{static_cast<std::int32_t>(call.kind),
                reduces ? static_cast<std::int32_t>(call.op) : 0,
                reduces ? static_cast<std::int32_t>(call.input.scalar_type()) : 0,
                rank_,
                static_cast<std::int64_t>(bytes),
                sequence_};
  };
  const auto whole = head(bytes_of(call.input));
  if (call.kind == Kind::kBroadcast) {
    if (rank_ == call.peer) {
      for (int other = 0; other < size_; ++other) {
        if (other != rank_) {
          post(other, whole, call.input.data_ptr());
        }
      }
    } else {
      const auto bytes = take(call.peer, whole);
      std::memcpy(call.output.data_ptr(), bytes.data(), bytes.size());
    }
  } else if (call.kind == Kind::kAllGather) {
    for (int other = 0; other < size_; ++other) {
      post(other, whole, call.input.data_ptr());
    }
    auto* output = static_cast<char*>(call.output.data_ptr());
    for (int other = 0; other < size_; ++other) {
      const auto bytes = take(other, whole);
      std::memcpy(output + other * bytes.size(), bytes.data(), bytes.size());
    }
  } else {
    // To the root, which sums in the order of ranks; then each its part, or all the whole.
    const int root = call.kind == Kind::kReduce ? call.peer : 0;
    post(root, whole, call.input.data_ptr());
    torch::Tensor sum;
    if (rank_ == root) {
      for (int other = 0; other < size_; ++other) {
        auto bytes = take(other, whole);
        const auto part =
            torch::from_blob(bytes.data(), {call.input.numel()}, call.input.scalar_type());
        sum = other == 0 ? part.clone() : combined(sum, part, call.op);
      }
    }
    if (call.kind == Kind::kReduce) {
      if (rank_ == root) {
        flat(call.output).copy_(sum);
      }
    } else {
      const auto part = head(bytes_of(call.output));
      if (rank_ == root) {
        const auto step = call.kind == Kind::kAllReduce ? 0 : call.output.numel();
        for (int other = 0; other < size_; ++other) {
          post(other, part, sum.narrow(0, other * step, call.output.numel()).data_ptr());
        }
      }
      const auto bytes = take(root, part);
      std::memcpy(call.output.data_ptr(), bytes.data(), bytes.size());
    }
  }
  // What was posted to oneself was taken; the rest is on its way.
  finish_sends();
  ++sequence_;
}

}  // namespace eigenscale::test
