#include "parallel/tcp/sum_traffic.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace liquid {
namespace {

constexpr int64_t kPieceBytes = int64_t{256} << 10;
constexpr int64_t kRingPieces = 4;  // that may come from one peer before the others' have

// sum[i] = a[i] + b[i]; `sum` may be `a`.
template <typename T>
void Add(void* sum, const void* a, const void* b, int64_t num_bytes) {
  const int64_t count = num_bytes / static_cast<int64_t>(sizeof(T));
  auto* to = static_cast<T*>(sum);
  const auto* left = static_cast<const T*>(a);
  const auto* right = static_cast<const T*>(b);
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) to[i] = left[i] + right[i];
}

void Add(DType dtype, void* sum, const void* a, const void* b, int64_t num_bytes) {
  switch (dtype) {
    case DType::kF32:
      return Add<float>(sum, a, b, num_bytes);
    case DType::kF64:
      return Add<double>(sum, a, b, num_bytes);
    case DType::kI64:
      return Add<int64_t>(sum, a, b, num_bytes);
    default:
      LIQUID_CHECK(false, "no sums of dtype ", static_cast<int>(dtype));
  }
}

}  // namespace

int64_t SumTraffic::Part::NumPieces() const { return (num_bytes + kPieceBytes - 1) / kPieceBytes; }
int64_t SumTraffic::Part::PieceBytes(int64_t piece) const {
  return std::min(kPieceBytes, num_bytes - piece * kPieceBytes);
}

SumTraffic::SumTraffic(int rank, int size) : rank_(rank), size_(size), peers_(size) {}

void SumTraffic::Start(const ConstTensorView& in, const TensorView& out, bool all_reduce) {
  LIQUID_CHECK(in.dtype == out.dtype && in.NumElements() == out.NumElements(), "unequal shapes");
  in_ = static_cast<const std::byte*>(in.data);
  out_ = static_cast<std::byte*>(out.data);
  dtype_ = out.dtype;
  is_all_reduce_ = all_reduce;
  num_summed_ = 0;
  for (int r = 0; r < size_; ++r) {
    const Slice slice = SliceOf(out.NumElements(), r, size_);
    peers_[r] = Peer{};
    peers_[r].part = {slice.begin * SizeOf(dtype_), (slice.end - slice.begin) * SizeOf(dtype_)};
  }
  if (scratch_.empty()) {
    scratch_.resize(static_cast<size_t>(size_ * kRingPieces * kPieceBytes));
  }
}

std::byte* SumTraffic::ScratchOf(int peer, int64_t piece) {
  return scratch_.data() + (peer * kRingPieces + piece % kRingPieces) * kPieceBytes;
}

bool SumTraffic::NextFrame(int peer, FrameHeader* header, const std::byte** payload) {
  Peer& p = peers_[peer];
  const Part& own = peers_[rank_].part;
  if (is_all_reduce_ && p.sums_out < num_summed_) {
    const int64_t piece = p.sums_out++;
    header->kind = FrameKind::kSum;
    header->offset = static_cast<uint64_t>(piece * kPieceBytes);
    header->length = static_cast<uint64_t>(own.PieceBytes(piece));
    *payload = out_ + own.begin + piece * kPieceBytes;
    return true;
  }
  if (p.addends_out == p.part.NumPieces()) return false;
  const int64_t piece = p.addends_out++;
  header->kind = FrameKind::kAddend;
  header->offset = static_cast<uint64_t>(piece * kPieceBytes);
  header->length = static_cast<uint64_t>(p.part.PieceBytes(piece));
  *payload = in_ + p.part.begin + piece * kPieceBytes;
  return true;
}

bool SumTraffic::HasMoreFor(int peer) const {
  const Peer& p = peers_[peer];
  return p.addends_out < p.part.NumPieces() ||
         (is_all_reduce_ && p.sums_out < peers_[rank_].part.NumPieces());
}

absl::StatusOr<std::byte*> SumTraffic::PlaceFor(int peer, const FrameHeader& header) {
  const Peer& p = peers_[peer];
  const bool is_sum = header.kind == FrameKind::kSum && is_all_reduce_;
  const Part& part = is_sum ? p.part : peers_[rank_].part;
  const int64_t piece = is_sum ? p.sums_in : p.addends_in;
  const int64_t num_bytes = std::max<int64_t>(part.PieceBytes(piece), 0);
  if ((header.kind != FrameKind::kAddend && !is_sum) || num_bytes == 0 ||
      header.offset != static_cast<uint64_t>(piece * kPieceBytes) ||
      header.length != static_cast<uint64_t>(num_bytes)) {
    FrameHeader expected = header;
    expected.kind = is_sum ? FrameKind::kSum : FrameKind::kAddend;
    expected.offset = static_cast<uint64_t>(piece * kPieceBytes);
    expected.length = static_cast<uint64_t>(num_bytes);
    return absl::InvalidArgumentError(
        absl::StrCat("it sent ", ToString(header), " instead of ", ToString(expected)));
  }
  // The bytes that a sum overwrites have left already: its summing took them.
  if (is_sum) return out_ + part.begin + piece * kPieceBytes;
  if (piece >= num_summed_ + kRingPieces) return nullptr;
  return ScratchOf(peer, piece);
}

void SumTraffic::Arrived(int peer, const FrameHeader& header) {
  if (header.kind == FrameKind::kSum) {
    ++peers_[peer].sums_in;
    return;
  }
  ++peers_[peer].addends_in;
  const auto has_come = [&](int r) { return r == rank_ || peers_[r].addends_in > num_summed_; };
  for (int r = 0; r < size_; ++r) {
    if (!has_come(r)) return;
  }
  Sum(num_summed_);
  ++num_summed_;
}

void SumTraffic::Sum(int64_t piece) {
  const Part& own = peers_[rank_].part;
  const int64_t num_bytes = own.PieceBytes(piece);
  const std::byte* mine = in_ + own.begin + piece * kPieceBytes;
  std::byte* sum = out_ + own.begin + piece * kPieceBytes;
  // ((x0 + x1) + x2) + ...: what precedes this rank is summed in the scratch memory of rank 0.
  if (rank_ > 0) {
    std::byte* first = ScratchOf(0, piece);
    for (int r = 1; r < rank_; ++r) Add(dtype_, first, first, ScratchOf(r, piece), num_bytes);
    Add(dtype_, sum, mine, first, num_bytes);
  }
  for (int r = rank_ + 1; r < size_; ++r) {
    Add(dtype_, sum, rank_ == 0 && r == 1 ? mine : sum, ScratchOf(r, piece), num_bytes);
  }
}

bool SumTraffic::Awaits(int peer) const {
  const Peer& p = peers_[peer];
  return p.addends_in < peers_[rank_].part.NumPieces() ||
         (is_all_reduce_ && p.sums_in < p.part.NumPieces());
}

}  // namespace liquid
