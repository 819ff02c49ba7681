#include "worker/gang_member.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
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

// Of encoded statuses, by rank.
absl::Status FirstError(const std::vector<std::string>& by_rank) {
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    const absl::Status theirs = Decode(by_rank[rank]);
    if (theirs.ok()) continue;
    return by_rank.size() == 1 ? theirs : Annotate(theirs, absl::StrCat("rank ", rank));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GangMember::Tick> GangMember::NextTick(absl::Duration timeout,
                                                      const std::function<ExchangeNews()>& listen,
                                                      absl::Time wait_until, const SaveNews& save) {
  TickWord mine;
  if (client_ != nullptr) {
    if (listen != nullptr) mine.set_news(listen());
    const auto order = client_->NextOrder(listen != nullptr ? absl::ZeroDuration() : timeout);
    if (!order.ok()) {
      mine.set_error(Encode(order.status()));
    } else if (order->has_value()) {
      mine.set_order((*order)->SerializeAsString());
    }
    mine.set_gang(client_->gang());
    mine.set_is_over(absl::Now() >= wait_until);
    mine.set_save_is_committed(save.step >= 0 && client_->committed_step() >= save.step);
  }
  if (save.mine.has_value()) mine.set_saved(Encode(*save.mine));
  mine.set_stop_requested(StopRequested() || absl::Now() >= leave_by_);
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          world_.AllGatherMessages(mine.SerializeAsString()));
  Tick tick;
  TickWord word;
  std::vector<std::string> saved;
  for (size_t rank = all.size(); rank-- > 0;) {  // the leader's comes last
    LIQUID_CHECK(word.ParseFromString(all[rank]), "from rank ", rank);
    tick.stop_requested |= word.stop_requested();
    if (!word.saved().empty()) saved.insert(saved.begin(), word.saved());
  }
  if (saved.size() == all.size()) tick.saved = FirstError(saved);
  tick.save_is_committed = word.save_is_committed();
  if (!word.error().empty()) return Decode(word.error());
  if (!word.order().empty()) LIQUID_CHECK(tick.order.emplace().ParseFromString(word.order()));
  tick.gang = word.gang();
  tick.news = word.news();
  tick.is_over = word.is_over();
  return tick;
}

void GangMember::Report(const GangMessage& message) {
  if (client_ != nullptr) client_->Send(message);
}

absl::Status AgreeOn(Communicator& world, const absl::Status& status) {
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          world.AllGatherMessages(Encode(status)));
  return FirstError(all);
}

absl::StatusOr<std::string> ShareFromLeader(Communicator& world,
                                            absl::StatusOr<std::string> value) {
  const absl::Status mine = world.rank() == 0 ? value.status() : absl::OkStatus();
  LIQUID_ASSIGN_OR_RETURN(const std::string status, world.BroadcastMessage(Encode(mine), 0));
  LIQUID_RETURN_IF_ERROR(Decode(status));
  return world.BroadcastMessage(world.rank() == 0 ? *std::move(value) : std::string(), 0);
}

}  // namespace liquid
