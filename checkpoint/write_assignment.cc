#include "checkpoint/write_assignment.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace liquid {
namespace {

// A box that one or more ranks hold, all the same bytes of it.
struct SharedBox {
  TensorBox box;
  std::vector<int> holders;
};
using BoxesOfTensor = std::map<std::pair<int32_t, int32_t>, std::vector<SharedBox>>;

BoxesOfTensor CollectBoxes(absl::Span<const std::vector<PlacedBox>> boxes_by_rank) {
  BoxesOfTensor all;
  for (size_t rank = 0; rank < boxes_by_rank.size(); ++rank) {
    for (const PlacedBox& placed : boxes_by_rank[rank]) {
      if (placed.box.num_elements() == 0) continue;
      std::vector<SharedBox>& boxes = all[{placed.file, placed.tensor}];
      auto it = std::find_if(boxes.begin(), boxes.end(),
                             [&](const SharedBox& known) { return known.box == placed.box; });
      if (it == boxes.end()) it = boxes.insert(it, {placed.box, {}});
      it->holders.push_back(static_cast<int>(rank));
    }
  }
  return all;
}

// The boxes are the tensor, each element once.
absl::Status CheckCover(const StoredTensor& tensor, const std::vector<SharedBox>& boxes) {
  int64_t covered = 0;
  bool overlap = false;
  for (size_t i = 0; i < boxes.size(); ++i) {
    covered += boxes[i].box.num_elements();
    for (size_t j = 0; j < i; ++j) {
      overlap |= Intersect(boxes[i].box, boxes[j].box).num_elements() > 0;
    }
  }
  if (!overlap && covered == WholeBox(tensor.spec).num_elements()) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("what the ranks hold of tensor ", QuoteName(tensor.spec.name), " ",
                   overlap ? "overlaps without being equal"
                           : absl::StrCat("has ", covered, " elements of ",
                                          DescribeTensor(tensor.spec.dtype, tensor.spec.shape))));
}

class Assigner {
 public:
  Assigner(const CheckpointPlan& plan, const BoxesOfTensor& boxes, int num_ranks, int rank)
      : plan_(plan), boxes_(boxes), rank_(rank), load_(static_cast<size_t>(num_ranks)) {}

  WriteAssignment Run() {
    for (const Piece& piece : plan_.pieces) Assign(piece);
    return std::move(result_);
  }

 private:
  void Assign(const Piece& piece) {
    const TensorSpec& spec = plan_.TensorOf(piece).spec;
    const int64_t begin = plan_.FirstByte(piece);
    const int64_t size = plan_.NumBytes(piece);
    const auto bytes_in_piece = [&](const TensorBox& box) {
      int64_t num_bytes = 0;
      for (const auto& clip : ClipToBytes(spec, box, begin, begin + size)) {
        num_bytes += clip.num_bytes();
      }
      return num_bytes;
    };
    const std::vector<SharedBox>& boxes = boxes_.at({piece.file, piece.tensor});
    std::map<int, int64_t> held;  // bytes of the piece, by rank
    for (const SharedBox& shared : boxes) {
      const int64_t num_bytes = bytes_in_piece(shared.box);
      if (num_bytes == 0) continue;
      for (const int holder : shared.holders) held[holder] += num_bytes;
    }
    std::vector<int> whole_holders;
    for (const auto& [holder, num_bytes] : held) {
      if (num_bytes == size) whole_holders.push_back(holder);
    }
    if (!whole_holders.empty()) {
      if (Charge(whole_holders, size)) {
        result_.writes.push_back({piece, {{begin, size, 1, size}}, /*is_whole=*/true});
      }
      return;
    }
    PieceWrite mine{piece, {}, /*is_whole=*/false};
    for (const SharedBox& shared : boxes) {
      const int64_t num_bytes = bytes_in_piece(shared.box);
      if (num_bytes == 0 || !Charge(shared.holders, num_bytes)) continue;
      for (const auto& clip : ClipToBytes(spec, shared.box, begin, begin + size)) {
        mine.runs.push_back(clip);
      }
    }
    result_.any_hashed_later = true;
    if (!mine.runs.empty()) result_.writes.push_back(std::move(mine));
    // In turn, over the ranks that have something of it.
    const auto hasher = std::next(held.begin(), num_shared_++ % static_cast<int64_t>(held.size()));
    if (hasher->first == rank_) result_.hashed_later.push_back(piece);
  }

  // Gives `num_bytes` to the least charged of `ranks`; whether that is this one.
  bool Charge(const std::vector<int>& ranks, int64_t num_bytes) {
    const int least = *std::min_element(ranks.begin(), ranks.end(), [this](int a, int b) {
      return load_[static_cast<size_t>(a)] < load_[static_cast<size_t>(b)];
    });
    load_[static_cast<size_t>(least)] += num_bytes;
    return least == rank_;
  }

  const CheckpointPlan& plan_;
  const BoxesOfTensor& boxes_;
  const int rank_;
  std::vector<int64_t> load_;  // bytes to write, by rank
  int64_t num_shared_ = 0;
  WriteAssignment result_;
};

}  // namespace

int64_t PieceWrite::num_bytes() const {
  int64_t sum = 0;
  for (const StridedBytes& run : runs) sum += run.num_bytes();
  return sum;
}

absl::StatusOr<std::vector<PlacedBox>> PlaceParts(const CheckpointPlan& plan,
                                                  absl::Span<const HeldPart> parts) {
  std::map<std::string_view, std::pair<int32_t, int32_t>> places;
  for (size_t f = 0; f < plan.files.size(); ++f) {
    const auto& tensors = plan.files[f].layout.tensors;
    for (size_t t = 0; t < tensors.size(); ++t) {
      places[tensors[t].spec.name] = {static_cast<int32_t>(f), static_cast<int32_t>(t)};
    }
  }
  std::vector<PlacedBox> placed;
  for (const HeldPart& part : parts) {
    const auto it = places.find(part.spec.name);
    const bool fits =
        it != places.end() &&
        plan.TensorOf({it->second.first, it->second.second, 0}).spec == part.spec &&
        (part.box.num_elements() == 0 || Intersect(part.box, WholeBox(part.spec)) == part.box);
    if (!fits) {
      return absl::InvalidArgumentError(
          absl::StrCat("the plan has no such part of a tensor: ", QuoteName(part.spec.name)));
    }
    placed.push_back({it->second.first, it->second.second, part.box});
  }
  return placed;
}

static_assert(std::is_trivially_copyable_v<PlacedBox>);

std::string EncodeBoxes(absl::Span<const PlacedBox> boxes) {
  return std::string(reinterpret_cast<const char*>(boxes.data()), boxes.size() * sizeof(PlacedBox));
}

std::vector<PlacedBox> DecodeBoxes(const std::string& message) {
  LIQUID_CHECK(message.size() % sizeof(PlacedBox) == 0, message.size());
  std::vector<PlacedBox> boxes(message.size() / sizeof(PlacedBox));
  if (!boxes.empty()) std::memcpy(boxes.data(), message.data(), message.size());
  return boxes;
}

absl::StatusOr<WriteAssignment> AssignWrites(const CheckpointPlan& plan,
                                             absl::Span<const std::vector<PlacedBox>> boxes_by_rank,
                                             int rank) {
  BoxesOfTensor boxes = CollectBoxes(boxes_by_rank);
  for (size_t f = 0; f < plan.files.size(); ++f) {
    const auto& tensors = plan.files[f].layout.tensors;
    for (size_t t = 0; t < tensors.size(); ++t) {
      LIQUID_RETURN_IF_ERROR(
          CheckCover(tensors[t], boxes[{static_cast<int32_t>(f), static_cast<int32_t>(t)}]));
    }
  }
  return Assigner(plan, boxes, static_cast<int>(boxes_by_rank.size()), rank).Run();
}

void GatherBytes(const CheckpointPlan& plan, const PieceWrite& write,
                 absl::Span<const HeldPart> parts, std::byte* out) {
  const TensorSpec& spec = plan.TensorOf(write.piece).spec;
  int64_t done = 0;
  for (const StridedBytes& run : write.runs) {
    const int64_t end = run.first + (run.count - 1) * run.stride + run.run_bytes;
    for (const HeldPart& part : parts) {
      for (const StridedBytes& clip : ClipToBytes(spec, part.box, run.first, end)) {
        for (int64_t i = 0; i < clip.count; ++i) {
          const int64_t offset = clip.first + i * clip.stride;
          const int64_t row = (offset - run.first) / run.stride;
          const int64_t in_row = offset - run.first - row * run.stride;
          if (in_row >= run.run_bytes) continue;  // of another part, which is another run's
          std::memcpy(out + done + row * run.run_bytes + in_row, AddressOf(part, offset),
                      static_cast<size_t>(std::min(clip.run_bytes, run.run_bytes - in_row)));
        }
      }
    }
    done += run.num_bytes();
  }
}

}  // namespace liquid
