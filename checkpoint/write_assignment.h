// Which rank writes which bytes of a checkpoint: a pure function of what all ranks hold.
#ifndef LIQUID_CHECKPOINT_WRITE_ASSIGNMENT_H_
#define LIQUID_CHECKPOINT_WRITE_ASSIGNMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "checkpoint/plan.h"
#include "checkpoint/tensor_box.h"

namespace liquid {

// A box of a tensor of the plan.
struct PlacedBox {
  int32_t file = 0;    // of CheckpointPlan::files
  int32_t tensor = 0;  // of that file's layout
  TensorBox box;
};

// What `parts` are in the plan. InvalidArgument: a tensor that the plan has not, or has otherwise.
absl::StatusOr<std::vector<PlacedBox>> PlaceParts(const CheckpointPlan& plan,
                                                  absl::Span<const HeldPart> parts);
// As the bytes of a message between ranks, and back.
std::string EncodeBoxes(absl::Span<const PlacedBox> boxes);
std::vector<PlacedBox> DecodeBoxes(const std::string& message);

// What one rank writes of a piece (in the order of their bytes; offsets count from the tensor's
// start): one run that is the whole piece, or several of a piece that ranks write together.
struct PieceWrite {
  Piece piece;
  std::vector<StridedBytes> runs;
  bool is_whole = false;

  int64_t num_bytes() const;
};

struct WriteAssignment {
  std::vector<PieceWrite> writes;   // in the order of files and bytes
  std::vector<Piece> hashed_later;  // of pieces that several ranks write: those that this rank
                                    // reads and hashes when all have written
  bool any_hashed_later = false;    // on any rank
};

// `boxes_by_rank[r]`: what rank r holds. A piece that a rank holds whole is written and hashed by
// one rank that does; another is written by those that hold its parts. Ranks get about equally many
// bytes. Internal if the distinct boxes of a tensor overlap or do not cover it.
absl::StatusOr<WriteAssignment> AssignWrites(const CheckpointPlan& plan,
                                             absl::Span<const std::vector<PlacedBox>> boxes_by_rank,
                                             int rank);

// Copies what `write` says to `out`, run after run, from `parts`: those of its tensor that this
// rank holds.
void GatherBytes(const CheckpointPlan& plan, const PieceWrite& write,
                 absl::Span<const HeldPart> parts, std::byte* out);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_WRITE_ASSIGNMENT_H_
