// The order in which a job visits the rows of its dataset, as arithmetic: no permutation is stored,
// any position is answered in O(1), and the same (seed, epoch, num_rows) gives the same order on
// every machine and in every version. Also what a step and a slot are (docs/LIQUID.md, section 2).
// Used by the workers, and by the coordinator and the audit, which have no dataset at hand.
#ifndef LIQUID_DATA_EPOCH_ORDER_H_
#define LIQUID_DATA_EPOCH_ORDER_H_

#include <cstdint>
#include <vector>

namespace liquid {

// Epoch e visits rows 0..num_rows-1 in the order of a keyed bijection P(seed, e) of 0..num_rows-1:
// a Feistel network of 12 rounds over the smallest power of two that holds num_rows, with cycle
// walking (applied again while the result is no row). Round functions and keys: epoch_order.cc.
// Source: Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains", section 5 (cycle walking).
// Immutable: any thread.
class EpochOrder {
 public:
  // num_rows >= 1. shuffle == false: every epoch is in the order of the rows.
  EpochOrder(uint64_t seed, int64_t num_rows, bool shuffle);

  // The row visited at `position` of `epoch`; epoch >= 0, 0 <= position < num_rows.
  int64_t RowAt(int64_t epoch, int64_t position) const;

  struct StreamRow {
    int64_t epoch;
    int64_t position;  // within the epoch
    int64_t row;
  };
  // The job's stream is the concatenation of epochs 0, 1, ...; stream_position >= 0.
  StreamRow AtStream(int64_t stream_position) const;

  int64_t num_rows() const { return num_rows_; }

 private:
  uint64_t seed_;
  int64_t num_rows_;
  bool shuffle_;
  int low_bits_;  // of a row number; the Feistel network's halves
  int high_bits_;
};

// The job's stream cut into steps of slots_per_step slots of rows_per_slot rows. Steps are numbered
// from 1, as everywhere (proto/coordinator.proto); slots of a step and rows from 0. An epoch may
// end inside a step or a slot. Only the very last step may be short. Immutable: any thread.
class JobStream {
 public:
  // `epochs` > 0, may be fractional: the stream has llround(epochs * num_rows) rows, at least 1.
  JobStream(const EpochOrder& order, double epochs, int slots_per_step, int rows_per_slot);

  int64_t num_stream_rows() const { return num_stream_rows_; }
  int64_t num_steps() const { return num_steps_; }
  int64_t rows_per_step() const { return rows_per_step_; }
  const EpochOrder& order() const { return order_; }

  // Stream positions [begin, end) of `step`; 1 <= step <= num_steps.
  int64_t StreamBegin(int64_t step) const;
  int64_t StreamEnd(int64_t step) const;
  // Epochs completed after `step` steps, with fraction; 0 <= step <= num_steps.
  double EpochsAfter(int64_t step) const;

  // The rows_per_slot rows of slot 0 <= slot < slots_per_step; -1: empty, behind the stream's end.
  void SlotRows(int64_t step, int slot, std::vector<int64_t>* rows) const;

 private:
  EpochOrder order_;
  int slots_per_step_;
  int rows_per_slot_;
  int64_t rows_per_step_;
  int64_t num_stream_rows_;
  int64_t num_steps_;
};

}  // namespace liquid

#endif  // LIQUID_DATA_EPOCH_ORDER_H_
