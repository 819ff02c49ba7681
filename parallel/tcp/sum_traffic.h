// The traffic of sums: direct reduce-scatter and, for an all-reduce, all-gather, in pieces.
#ifndef LIQUID_PARALLEL_TCP_SUM_TRAFFIC_H_
#define LIQUID_PARALLEL_TCP_SUM_TRAFFIC_H_

#include <vector>

#include "parallel/tcp/slice.h"
#include "parallel/tcp/traffic.h"

namespace liquid {

// Each rank sums one slice (SliceOf): the others send it theirs, piece by piece. A piece is summed
// once it has come from everybody, in the order of ranks whatever the order of arrival, and (in an
// all-reduce) goes out to all at once, while later pieces still come in. So all have the same bits,
// and each byte crosses a connection once in each direction.
class SumTraffic final : public Traffic {
 public:
  SumTraffic(int rank, int size);

  // `in` is only read, unless it is `out`. all_reduce: every slice of `out` is written, else only
  // slice rank. dtype kF32, kF64 or kI64.
  void Start(const ConstTensorView& in, const TensorView& out, bool all_reduce);

  bool NextFrame(int peer, FrameHeader* header, const std::byte** payload) override;
  bool HasMoreFor(int peer) const override;
  absl::StatusOr<std::byte*> PlaceFor(int peer, const FrameHeader& header) override;
  void Arrived(int peer, const FrameHeader& header) override;
  bool Awaits(int peer) const override;

 private:
  // Bytes of a tensor that are one rank's slice.
  struct Part {
    int64_t begin = 0;
    int64_t num_bytes = 0;
    int64_t NumPieces() const;
    int64_t PieceBytes(int64_t piece) const;
  };
  struct Peer {
    Part part;
    int64_t addends_out = 0;  // pieces, of `part`
    int64_t sums_out = 0;     // of this rank's part
    int64_t addends_in = 0;   // of this rank's part
    int64_t sums_in = 0;      // of `part`
  };
  std::byte* ScratchOf(int peer, int64_t piece);
  void Sum(int64_t piece);

  const int rank_;
  const int size_;
  std::vector<Peer> peers_;         // by rank, this one as well
  std::vector<std::byte> scratch_;  // rings of pieces: made at the first sum
  const std::byte* in_ = nullptr;
  std::byte* out_ = nullptr;
  DType dtype_ = DType::kF32;
  bool is_all_reduce_ = false;
  int64_t num_summed_ = 0;  // pieces of this rank's part
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_SUM_TRAFFIC_H_
