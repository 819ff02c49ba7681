// Documents into rows of a fixed number of tokens.
//
// Rows are the training data's unit (docs/LIQUID.md). A row holds whole documents back to back;
// what keeps them invisible to each other are their begins: positions restart there, attention and
// targets end there (Dataset::FillRow).
#ifndef LIQUID_DATA_PACKING_H_
#define LIQUID_DATA_PACKING_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace liquid {

// Where a document comes from.
struct DocumentOrigin {
  int32_t source = 0;  // index of the input file
  int64_t line = 0;    // from 1
  int32_t part = 0;    // 0, or which piece of a document that was split

  friend bool operator==(const DocumentOrigin&, const DocumentOrigin&) = default;
};

// What one example of the input became.
struct Document {
  std::vector<int32_t> tokens;
  // As long as `tokens`: not 0 where the model learns to say the token (data/loss_weights.h).
  std::vector<uint8_t> trained;
  DocumentOrigin origin;
  int32_t num_left_out = 0;  // messages that were to be trained, but the chat template left out
};

// Tokens that count in the loss. The first token is no target: nothing precedes it.
int64_t NumTargets(const Document& document);

struct PackedRow {
  struct Piece {
    int32_t begin = 0;  // in the row
    int32_t num_tokens = 0;
    DocumentOrigin origin;
  };
  std::vector<int32_t> tokens;       // of the documents, without padding
  std::vector<uint8_t> target_mask;  // as long: not 0 where the token is a target
  std::vector<Piece> documents;      // in order, without gaps

  void Append(const Document& document);
};

// Puts each document into the fullest open row that still has room for it (best fit), else into a
// new row. Of `num_open_rows` open rows at most, the fullest is closed when another is needed. A
// function of the documents and their order alone; memory is bounded by the open rows. One thread.
class Packer {
 public:
  using Emit = std::function<absl::Status(const PackedRow&)>;

  // sequence_length >= 2; packing == false: one document per row, in order. `emit` gets each row
  // when it is closed; its first error is returned from the call that closed the row.
  Packer(int sequence_length, bool packing, Emit emit);

  // 1 <= document.tokens.size() <= sequence_length.
  absl::Status Add(const Document& document);
  // Emits what is open, oldest first. Nothing may follow.
  absl::Status Finish();

  int num_open_rows() const { return num_open_rows_; }  // the limit

 private:
  absl::Status Close(int64_t row);

  int sequence_length_;
  int num_open_rows_;
  Emit emit_;
  int64_t next_row_ = 0;
  std::map<int64_t, PackedRow> open_;              // by the number of their opening
  std::set<std::pair<int64_t, int64_t>> by_room_;  // {free tokens, number}
};

}  // namespace liquid

#endif  // LIQUID_DATA_PACKING_H_
