#include "worker/checkpoint_save.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/status.h"

namespace liquid {
namespace {

// Some hash while others wait for the disk: with four, checksums add half of what they do with two.
constexpr int kNumThreads = 4;

std::string ToBytes(const std::vector<PieceChecksum>& checksums) {
  return std::string(reinterpret_cast<const char*>(checksums.data()),
                     checksums.size() * sizeof(PieceChecksum));
}

std::vector<PieceChecksum> FromBytes(const std::vector<std::string>& messages) {
  std::vector<PieceChecksum> all;
  for (const std::string& message : messages) {
    const size_t count = message.size() / sizeof(PieceChecksum);
    all.resize(all.size() + count);
    if (count > 0) std::memcpy(&all[all.size() - count], message.data(), message.size());
  }
  return all;
}

}  // namespace

CheckpointSave::CheckpointSave(const CheckpointPlan& plan, const WriteAssignment& assignment,
                               const StateSnapshot& snapshot, Communicator& world, Request request,
                               absl::Status ready)
    : assignment_(assignment),
      snapshot_(snapshot),
      world_(world),
      request_(std::move(request)),
      ready_(std::move(ready)),
      writer_(request_.root, request_.state.step, plan, request_.companions, request_.writer) {
  Enter(Phase::kPreparing);
}

CheckpointSave::~CheckpointSave() {
  stop_ = true;
  static_cast<void>(task_.Wait());
  if (phase_ != Phase::kOver) End(absl::CancelledError("broken off"));
}

void CheckpointSave::Enter(Phase phase) {
  phase_ = phase;
  task_.Start([this, phase] { return Work(phase); });
}

absl::Status CheckpointSave::Work(Phase phase) {
  const bool is_leader = world_.rank() == 0;
  switch (phase) {
    case Phase::kPreparing:
      return is_leader && ready_.ok() ? writer_.Prepare() : ready_;
    case Phase::kWriting: {
      LIQUID_ASSIGN_OR_RETURN(
          checksums_, writer_.WritePieces(
                          assignment_.writes,
                          [this](const PieceWrite& write) { return snapshot_.BytesOf(write); },
                          kNumThreads, &stop_));
      return absl::OkStatus();
    }
    case Phase::kHashing: {
      LIQUID_ASSIGN_OR_RETURN(const std::vector<PieceChecksum> later,
                              writer_.HashPieces(assignment_.hashed_later, kNumThreads, &stop_));
      checksums_.insert(checksums_.end(), later.begin(), later.end());
      return absl::OkStatus();
    }
    case Phase::kPublishing:
      if (is_leader) result_ = writer_.Commit(request_.state, checksums_, request_.retention);
      return result_.status();
    case Phase::kWritten:
    case Phase::kOver:
      break;
  }
  LIQUID_CHECK(false, "no work in this phase");
  return absl::OkStatus();
}

absl::StatusOr<bool> CheckpointSave::Advance(const absl::Status& all, bool may_publish) {
  if (!all.ok()) {
    End(all);
    return true;
  }
  switch (phase_) {
    case Phase::kPreparing:
      Enter(Phase::kWriting);
      return false;
    case Phase::kWriting:
      if (assignment_.any_hashed_later) {
        Enter(Phase::kHashing);
        return false;
      }
      [[fallthrough]];
    case Phase::kHashing: {
      LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> messages,
                              world_.AllGatherMessages(ToBytes(checksums_)));
      checksums_ = FromBytes(messages);
      phase_ = Phase::kWritten;
      [[fallthrough]];
    }
    case Phase::kWritten:
      if (may_publish) Enter(Phase::kPublishing);
      return false;
    case Phase::kPublishing:
      End(absl::OkStatus());
      return true;
    case Phase::kOver:
      break;
  }
  LIQUID_CHECK(false, "the save is over");
  return true;
}

void CheckpointSave::End(const absl::Status& all) {
  phase_ = Phase::kOver;
  if (all.ok()) return;
  result_ = all;
  if (world_.rank() == 0) {
    const absl::Status abandoned = writer_.Abandon();
    if (!abandoned.ok()) LogWarning(abandoned.message());
  }
}

}  // namespace liquid
