#include "worker/gang_member.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/exit_code.h"
#include "base/status.h"
#include "worker/signals.h"

namespace liquid {
namespace {

// A status in one string: its code, the exit code that it stands for, the message.
std::string Encode(const absl::Status& status) {
  return absl::StrCat(static_cast<int>(status.code()), " ", static_cast<int>(ExitCodeOf(status)),
                      " ", status.message());
}

absl::Status Decode(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(' ', 2));
  LIQUID_CHECK(parts.size() == 3, text);
  return WithExitCode(absl::Status(static_cast<absl::StatusCode>(std::stoi(parts[0])), parts[2]),
                      static_cast<ExitCode>(std::stoi(parts[1])));
}

// The first byte of a tick's message says what follows.
enum TickByte : char { kNothing = 'n', kOrder = 'o', kError = 'e' };

}  // namespace

absl::StatusOr<GangMember::Tick> GangMember::NextTick(absl::Duration timeout) {
  std::string message = {StopRequested() ? '1' : '0', kNothing};
  if (client_ != nullptr) {
    const auto order = client_->NextOrder(timeout);
    message[0] = StopRequested() ? '1' : '0';
    if (!order.ok()) {
      message[1] = kError;
      message += Encode(order.status());
    } else if (order->has_value()) {
      message[1] = kOrder;
      message += (*order)->SerializeAsString();
    }
  }
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          world_.AllGatherMessages(std::move(message)));
  Tick tick;
  for (const std::string& one : all) tick.stop_requested |= one[0] == '1';
  const std::string& leader = all[0];
  if (leader[1] == kError) return Decode(leader.substr(2));
  if (leader[1] == kOrder) {
    LIQUID_CHECK(tick.order.emplace().ParseFromString(leader.substr(2)));
  }
  return tick;
}

absl::Status GangMember::WaitCommitted(int64_t step) {
  if (client_ == nullptr || step == 0) return absl::OkStatus();
  return client_->WaitCommitted(step);
}

void GangMember::Report(const GangMessage& message) {
  if (client_ != nullptr) client_->Send(message);
}

absl::Status AgreeOn(Communicator& world, const absl::Status& status) {
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          world.AllGatherMessages(Encode(status)));
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const absl::Status theirs = Decode(all[rank]);
    if (theirs.ok()) continue;
    return world.size() == 1 ? theirs : Annotate(theirs, absl::StrCat("rank ", rank));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ShareFromLeader(Communicator& world,
                                            absl::StatusOr<std::string> value) {
  const absl::Status mine = world.rank() == 0 ? value.status() : absl::OkStatus();
  LIQUID_ASSIGN_OR_RETURN(const std::string status, world.BroadcastMessage(Encode(mine), 0));
  LIQUID_RETURN_IF_ERROR(Decode(status));
  return world.BroadcastMessage(world.rank() == 0 ? *std::move(value) : std::string(), 0);
}

}  // namespace liquid
