#include "worker/gang_world.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status.h"

namespace liquid {

absl::Status GangWorld::Enter(const World& world, int64_t gang, int rank_in_gang) {
  Leave();
  failure_ = absl::OkStatus();
  unreached_.clear();
  world_ = world;
  place_ = -1;
  TcpGroup::Options options;
  for (int i = 0; i < world.members_size(); ++i) {
    const World::Member& member = world.members(i);
    if (member.gang() == gang) place_ = i;
    if (rank_in_gang >= member.data_addresses_size()) {
      return absl::FailedPreconditionError(absl::StrCat("gang ", member.gang(), " has ",
                                                        member.data_addresses_size(),
                                                        " ranks, gang ", gang, " more"));
    }
    options.addresses.emplace_back(member.data_addresses().begin(), member.data_addresses().end());
  }
  if (place_ < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("gang ", gang, " is no member of generation ", world.generation()));
  }
  is_inside_ = world.members_size() == 1;
  if (is_inside_) return absl::OkStatus();
  options.job = job_digest_;
  options.generation = world.generation();
  options.token = world.token();
  options.gang = place_;
  options.rank_in_gang = rank_in_gang;
  options.stall_timeout = kStallTimeouts * heartbeat_timeout_;
  rail_ = std::make_unique<TcpGroup>(port_, std::move(options), sentinel_);
  {
    MutexLock lock(mutex_);
    interruptible_ = rail_.get();
    interruptible_generation_ = world.generation();
    if (newest_generation_ > world.generation()) {
      rail_->Abort(absl::AbortedError(absl::StrCat("generation ", newest_generation_, " begins")));
    }
  }
  exchange_.emplace(world.members_size(), slots_per_step_);
  failure_ = Form(absl::Now() + kFormTimeouts * heartbeat_timeout_);
  if (!failure_.ok()) {
    const absl::Status why = failure_;
    for (const int place : rail_->unreached()) unreached_.push_back(gang_at(place));
    Leave();
    failure_ = why;
    return why;
  }
  is_inside_ = true;
  return absl::OkStatus();
}

absl::Status GangWorld::Form(absl::Time deadline) {
  LIQUID_RETURN_IF_ERROR(rail_->Form(deadline));
  both_ = {.hosts = rail_.get(), .devices = rail_.get()};
  if (create_device_rail_ == nullptr) return absl::OkStatus();
  auto created = create_device_rail_(*rail_, deadline);
  if (!created.ok()) {
    rail_->Abort(created.status());
    return created.status();
  }
  device_rail_ = *std::move(created);
  both_.devices = device_rail_.get();
  return absl::OkStatus();
}

absl::StatusOr<std::set<int64_t>> GangWorld::UnreachedByAnyRank(Communicator& gang) const {
  LIQUID_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          gang.AllGatherMessages(absl::StrJoin(unreached_, " ")));
  std::set<int64_t> gangs;
  for (const std::string& one : all) {
    for (const absl::string_view word : absl::StrSplit(one, ' ', absl::SkipEmpty())) {
      int64_t number = 0;
      LIQUID_CHECK(absl::SimpleAtoi(word, &number), word);
      gangs.insert(number);
    }
  }
  return gangs;
}

void GangWorld::Leave() {
  {
    MutexLock lock(mutex_);
    interruptible_ = nullptr;
  }
  device_rail_ = nullptr;
  rail_ = nullptr;
  exchange_.reset();
  disagreement_.reset();
  disagreement_step_ = 0;
  is_inside_ = false;
}

void GangWorld::Interrupt(int64_t generation) {
  MutexLock lock(mutex_);
  newest_generation_ = generation;
  if (interruptible_ == nullptr || interruptible_generation_ >= generation) return;
  interruptible_->Abort(absl::AbortedError(absl::StrCat("generation ", generation, " begins")));
}

void GangWorld::Announce(const SlotsDone& done) {
  exchange_->Hear(place_, done);
  rail_->Post(done.SerializeAsString());
}

ExchangeNews GangWorld::Listen(int64_t step, absl::Duration timeout, int wake_fd) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    if (const ExchangeNews news = Judge(step); news != NOTHING_NEW) return news;
    const auto posted =
        rail_->NextPosted(std::max(deadline - absl::Now(), absl::ZeroDuration()), wake_fd);
    SlotsDone word;
    failure_ = posted.status();
    if (posted.ok() && posted->has_value() && !word.ParseFromString((*posted)->message)) {
      failure_ = absl::DataLossError(
          absl::StrCat("gang ", gang_at((*posted)->from), " said what nobody can read"));
    }
    if (!failure_.ok()) return EXCHANGE_FAILED;
    if (!posted->has_value()) return NOTHING_NEW;
    exchange_->Hear((*posted)->from, std::move(word));
  }
}

ExchangeNews GangWorld::Judge(int64_t step) {
  if (!exchange_->AllDone(step)) return NOTHING_NEW;
  const auto disagreement = exchange_->FindDisagreement(step);
  if (!disagreement.has_value()) return ALL_DONE;
  if (disagreement_step_ != step) {
    disagreement_step_ = step;
    disagreement_ = disagreement;
  }
  return NOTHING_NEW;
}

std::optional<SlotExchange::Disagreement> GangWorld::TakeDisagreement() {
  return std::exchange(disagreement_, std::nullopt);
}

}  // namespace liquid
