// A slot of full rows, each of them one document, all of it scored: the worst case.
#ifndef LIQUID_WORKER_FULL_SLOT_H_
#define LIQUID_WORKER_FULL_SLOT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/model.h"

namespace liquid {

// All tokens and targets are 0 at first; its owner may write others.
struct FullSlot {
  FullSlot(int64_t rows, int64_t length)
      : num_rows(rows),
        sequence_length(length),
        tokens(static_cast<size_t>(rows * length)),
        targets(tokens.size()),
        positions(tokens.size()),
        document_start(tokens.size()),
        row_keys(static_cast<size_t>(rows)) {
    for (size_t i = 0; i < positions.size(); ++i) {
      positions[i] = static_cast<int32_t>(static_cast<int64_t>(i) % length);
    }
  }

  // Points into this.
  TokenBatch batch() const {
    return {num_rows,  sequence_length, tokens,         targets,
            positions, document_start,  /*weights=*/{}, row_keys};
  }

  int64_t num_rows;
  int64_t sequence_length;
  std::vector<int32_t> tokens;  // [rows * length], as the next three
  std::vector<int32_t> targets;
  std::vector<int32_t> positions;
  std::vector<int32_t> document_start;
  std::vector<uint64_t> row_keys;  // [rows]
};

}  // namespace liquid

#endif  // LIQUID_WORKER_FULL_SLOT_H_
