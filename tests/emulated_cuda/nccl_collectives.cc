#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/emulated_cuda/nccl_arithmetic.h"
#include "tests/emulated_cuda/nccl_operations.h"

namespace liquid::emulated {
namespace {

std::string Describe(const CollectiveCall& call) {
  return std::string(NameOf(static_cast<Kind>(call.kind))) + "(count " +
         std::to_string(call.count) + ", type " + std::to_string(call.type) + ", reduction " +
         std::to_string(call.reduction) + ", root " + std::to_string(call.root) + ")";
}

// On a GPU the ranks would hang or write over memory.
bool AllCallTheSame(Communicator& communicator) {
  const CollectiveCall& own = communicator.own_state().call;
  for (int rank = 0; rank < communicator.num_ranks(); ++rank) {
    const CollectiveCall& other = communicator.state_of(rank).call;
    if (other == own) continue;
    communicator.Fail(ncclInvalidUsage, "collective mismatch at number " +
                                            std::to_string(own.number) + ": this rank calls " +
                                            Describe(own) + ", rank " + std::to_string(rank) +
                                            " calls " + Describe(other));
    return false;
  }
  return true;
}

Until AllRanks(Communicator* communicator, const char* what) {
  const uint64_t num_steps = communicator->EndStep();
  return {[=] { return communicator->HaveReached(num_steps, what); }};
}

// Sums what all slots have from `offset` on, in the order of the ranks.
void ReduceSlots(const Operation& operation, size_t offset, size_t bytes, void* result) {
  Communicator& communicator = *operation.communicator;
  const size_t count = bytes / BytesOf(operation.type);
  memcpy(result, communicator.slot(0) + offset, bytes);
  for (int rank = 1; rank < communicator.num_ranks(); ++rank) {
    ReduceInto(result, communicator.slot(rank) + offset, count, operation.type,
               operation.reduction);
  }
  if (operation.reduction == ncclAvg) {
    DivideBy(communicator.num_ranks(), result, count, operation.type);
  }
}

// AllReduce, Reduce, Broadcast, AllGather: a slot holds what its rank gives.
void TakeFromSlots(const Operation& operation, size_t offset, size_t bytes) {
  Communicator& communicator = *operation.communicator;
  char* const out = static_cast<char*>(operation.out);
  switch (operation.kind) {
    case Kind::kBroadcast:
      memcpy(out + offset, communicator.slot(operation.peer), bytes);
      break;
    case Kind::kAllGather:
      for (int rank = 0; rank < communicator.num_ranks(); ++rank) {
        memcpy(out + rank * operation.count * BytesOf(operation.type) + offset,
               communicator.slot(rank), bytes);
      }
      break;
    default:
      if (operation.kind == Kind::kReduce && communicator.rank() != operation.peer) break;
      ReduceSlots(operation, 0, bytes, out + offset);
  }
}

// ReduceScatter, AlltoAll: a slot holds a piece for every rank.
void TakePieces(const Operation& operation, size_t piece_bytes, size_t offset, size_t bytes) {
  Communicator& communicator = *operation.communicator;
  char* const out = static_cast<char*>(operation.out);
  const size_t own_piece = communicator.rank() * piece_bytes;
  if (operation.kind == Kind::kReduceScatter) {
    std::vector<char> sums(bytes);  // `out` may be a part of `in`
    ReduceSlots(operation, own_piece, bytes, sums.data());
    memcpy(out + offset, sums.data(), bytes);
    return;
  }
  for (int rank = 0; rank < communicator.num_ranks(); ++rank) {
    memcpy(out + rank * operation.count * BytesOf(operation.type) + offset,
           communicator.slot(rank) + own_piece, bytes);
  }
}

}  // namespace

const char* NameOf(Kind kind) {
  constexpr const char* kNames[] = {"AllReduce", "ReduceScatter", "AllGather", "Broadcast",
                                    "Reduce",    "AlltoAll",      "Send",      "Recv"};
  return kNames[static_cast<int>(kind)];
}

Task RunCollective(Operation operation) {
  Communicator* const communicator = operation.communicator.get();
  const char* const what = NameOf(operation.kind);
  communicator->own_state().call = {communicator->NextCallNumber(),
                                    static_cast<int>(operation.kind),
                                    static_cast<int>(operation.type),
                                    static_cast<int>(operation.reduction),
                                    operation.peer,
                                    operation.count};
  Until all_have_called = AllRanks(communicator, what);
  co_await all_have_called;
  if (!AllCallTheSame(*communicator)) {
    Until forever{[] { return false; }};
    co_await forever;
  }
  Until all_have_compared = AllRanks(communicator, what);
  co_await all_have_compared;

  const char* const in = static_cast<const char*>(operation.in);
  const size_t num_bytes = operation.count * BytesOf(operation.type);
  const bool has_pieces =
      operation.kind == Kind::kReduceScatter || operation.kind == Kind::kAllToAll;
  const size_t num_pieces = has_pieces ? communicator->num_ranks() : 1;
  const size_t piece_bytes = kSlotBytes / num_pieces / 8 * 8;
  const bool gives = operation.kind != Kind::kBroadcast || communicator->rank() == operation.peer;
  for (size_t offset = 0; offset < num_bytes; offset += piece_bytes) {
    const size_t bytes = std::min(piece_bytes, num_bytes - offset);
    for (size_t i = 0; gives && i < num_pieces; ++i) {
      memcpy(communicator->slot(communicator->rank()) + i * piece_bytes,
             in + i * num_bytes + offset, bytes);
    }
    Until all_have_given = AllRanks(communicator, what);
    co_await all_have_given;
    if (has_pieces) {
      TakePieces(operation, piece_bytes, offset, bytes);
    } else {
      TakeFromSlots(operation, offset, bytes);
    }
    Until all_have_taken = AllRanks(communicator, what);
    co_await all_have_taken;
  }
}

}  // namespace liquid::emulated
