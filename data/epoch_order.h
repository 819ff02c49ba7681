// The order in which a job visits the rows of its dataset, as arithmetic: no permutation is stored,
// any position is answered in O(1), and the same (seed, epoch, num_rows) gives the same order on
// every machine and in every version. Also what a step and a slot are (docs/LIQUID.md, section 2).
// Used by the workers, and by the coordinator and the audit, which have no dataset at hand.
#ifndef LIQUID_DATA_EPOCH_ORDER_H_
#define LIQUID_DATA_EPOCH_ORDER_H_

#include <cstdint>
#include <vector>

namespace liquid {

// Epoch e puts 0..size-1 in the order of a keyed bijection P(seed, e) of them: a Feistel network of
// 12 rounds over the smallest power of two that holds `size`, with cycle walking (applied again
// while the result is not below it). Round functions and keys: epoch_order.cc.
// Source: Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains", section 5 (cycle walking).
// Immutable: any thread.
class EpochPermutation {
 public:
  // size >= 1. shuffle == false: every epoch is 0, 1, 2, ...
  EpochPermutation(uint64_t seed, int64_t size, bool shuffle);

  // epoch >= 0, 0 <= position < size.
  int64_t At(int64_t epoch, int64_t position) const;

  int64_t size() const { return size_; }

 private:
  uint64_t seed_;
  int64_t size_;
  bool shuffle_;
  int low_bits_;  // of a number; the Feistel network's halves
  int high_bits_;
};

// A source of mixed rows: how many it has, and how many an epoch of the job draws from it. Both are
// at least 1.
struct RowSource {
  int64_t num_rows = 0;
  int64_t draws = 0;
};

// Epoch e of a job visits rows 0..num_rows-1 in the order P(seed, e).
//
// Mixed rows belong to sources, to source 0 the first of them, and so on. An epoch of the job then
// is an order P(seed, e) of all draws: the first draws_0 numbers stand for draws from source 0, and
// so on. The draws of a source are numbered through the epochs of the job: number k is row
// P_s(k mod rows_s) of its own epoch k / rows_s, with a permutation of its own. So every row of a
// source comes exactly once in each epoch of the source, whatever its share is.
// Immutable: any thread.
class EpochOrder {
 public:
  // num_rows >= 1. shuffle == false: every epoch is in the order of the rows.
  EpochOrder(uint64_t seed, int64_t num_rows, bool shuffle);
  // At least one source. shuffle == false: in an epoch of the job one source follows the other.
  EpochOrder(uint64_t seed, const std::vector<RowSource>& sources, bool shuffle);

  struct StreamRow {
    int64_t epoch;         // of the job
    int64_t position;      // within the epoch
    int64_t row;           // of the dataset
    int source;            // 0 unless rows are mixed
    int64_t source_epoch;  // `epoch` unless rows are mixed
  };
  // What is visited at `position` of `epoch`; epoch >= 0, 0 <= position < epoch_length().
  StreamRow At(int64_t epoch, int64_t position) const;
  int64_t RowAt(int64_t epoch, int64_t position) const { return At(epoch, position).row; }
  // The job's stream is the concatenation of epochs 0, 1, ...; stream_position >= 0.
  StreamRow AtStream(int64_t stream_position) const;

  int64_t num_rows() const { return num_rows_; }                // of the dataset
  int64_t epoch_length() const { return permutation_.size(); }  // rows visited in an epoch
  // A single one unless rows are mixed.
  int num_sources() const { return static_cast<int>(sources_.size()); }
  RowSource source(int i) const { return {sources_[i].permutation.size(), sources_[i].draws}; }

 private:
  struct Source {
    int64_t first_row;
    int64_t first_draw;  // of an epoch
    int64_t draws;
    EpochPermutation permutation;  // of its rows
  };
  EpochPermutation permutation_;  // of an epoch's draws
  int64_t num_rows_;
  bool is_mixed_;
  std::vector<Source> sources_;
};

// The job's stream cut into steps of slots_per_step slots of rows_per_slot rows. Steps are numbered
// from 1, as everywhere (proto/coordinator.proto); slots of a step and rows from 0. An epoch may
// end inside a step or a slot. Only the very last step may be short. Immutable: any thread.
class JobStream {
 public:
  // `epochs` > 0, may be fractional: the stream has llround(epochs * epoch_length) rows, at
  // least 1.
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
