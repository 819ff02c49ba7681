#include "tests/coordinator/simulation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/coordinator/gang_script.h"

namespace liquid::testing {
namespace {

constexpr int kSlots = 6;
constexpr size_t kTraceLines = 400;

Job SimulatedJob(uint64_t seed, int min_epochs) {
  static const Job& base = *new Job(ScriptedJob(
      "/o", {absl::StrCat("training.slots_per_step=", kSlots), "training.rows_per_slot=1",
             "data.eval=[/e.jsonl]", "training.eval_every_steps=5"}));
  Job job = base;
  job.mutable_training()->set_seed(seed);
  job.mutable_training()->set_epochs(min_epochs + static_cast<double>(seed % 5));
  job.mutable_coordinator()->set_lease_window(static_cast<int>(1 + seed % 3));
  job.mutable_coordinator()->set_audit_every(seed % 6 == 0 ? 2 : seed % 6 == 3 ? 1 : 0);
  return job;
}

absl::Duration Ms(int64_t ms) { return absl::Milliseconds(ms); }

}  // namespace

void SimulationCounts::Add(const SimulationCounts& other) {
  schedules += other.schedules;
  kills += other.kills;
  freezes += other.freezes;
  stuck += other.stuck;
  hedges += other.hedges;
  joins += other.joins;
  drains += other.drains;
  broken_streams += other.broken_streams;
  coordinator_crashes += other.coordinator_crashes;
  verbs += other.verbs;
  generations += other.generations;
  commits += other.commits;
  steals += other.steals;
  audits += other.audits;
  voided_steps += other.voided_steps;
  kept_slots += other.kept_slots;
  late_messages += other.late_messages;
  liars += other.liars;
  liars_found += other.liars_found;
  undecided += other.undecided;
  violations += other.violations;
}

Simulation::Simulation(uint64_t seed, int min_epochs)
    : random_(seed),
      job_(SimulatedJob(seed, min_epochs)),
      job_digest_(JobDigest(job_)),
      stream_(StreamOf(job_)),
      has_liars_(seed % 6 == 0) {
  counts_.schedules = 1;
  StartCoordinator();
}

void Simulation::Run() {
  const int num_gangs = 1 + Roll(4);
  for (int i = 0; i < num_gangs; ++i) At(Ms(Roll(300)), [this] { Spawn(); });
  Tick();
  const absl::Time calm = now_ + Ms(1000 + Roll(5000));
  while (now_ < calm && violations_.empty()) {
    RunUntil(now_ + Ms(50));
    Accident();
  }
  has_accidents_ = false;
  const absl::Time end = now_ + absl::Seconds(150);
  const auto is_done = [this] { return machine_ != nullptr && machine_->state() == DONE; };
  while (!is_done() && now_ < end && violations_.empty()) {
    if (machine_ == nullptr) StartCoordinator();
    for (SimulatedGang* gang : Live()) Thaw(gang);
    if (machine_->record().is_paused()) Ask(Verb::kResume);
    if (Live().empty()) Spawn();
    RunUntil(now_ + Ms(200));
  }
  if (violations_.empty() && !is_done()) {
    Violation(absl::StrCat("no end: ", machine_ == nullptr
                                           ? "no coordinator"
                                           : machine_->status().ShortDebugString()));
  }
  if (violations_.empty() &&
      record_.FingerprintAfter(record_.committed_step()) != FingerprintOf(stream_.num_steps())) {
    Violation("another fingerprint at the end");
  }
  counts_.commits = record_.committed_step();
  counts_.generations = record_.generation();
  counts_.violations = static_cast<int64_t>(violations_.size());
}

void Simulation::RunWithAStuckGang() {
  has_accidents_ = false;
  has_liars_ = false;
  const int num_gangs = 2 + Roll(3);
  for (int i = 0; i < num_gangs; ++i) At(Ms(1 + i), [this] { Spawn(); });
  Tick();
  const auto is_done = [this] { return machine_->state() == DONE; };
  while (record_.committed_step() < 6 && now_ < absl::FromUnixSeconds(1030)) RunUntil(now_ + Ms(5));
  RunUntil(now_ + Ms(Roll(200)));
  if (is_done()) return Violation("done before anything happened");
  constexpr absl::Duration kStuck = absl::Seconds(60);
  Stick(gangs_.back().get(), kStuck);
  const absl::Time stuck_at = now_;
  const int64_t step = record_.committed_step();
  // What was leased, and one step more: a second of waiting, and half a second for each step.
  RunUntil(stuck_at + absl::Seconds(5));
  if (record_.committed_step() <= step + job_.coordinator().lease_window()) {
    Violation(absl::StrCat("step ", record_.committed_step() + 1, " waits for a stuck gang"));
  }
  while (!is_done() && now_ < stuck_at + kStuck && violations_.empty()) RunUntil(now_ + Ms(200));
  if (violations_.empty() && !is_done()) Violation("the job waits for a stuck gang");
  RunUntil(stuck_at + kStuck + absl::Seconds(10));
  if (violations_.empty() && !Live().empty()) Violation("a gang that was stuck stays for ever");
  counts_.commits = record_.committed_step();
  counts_.generations = record_.generation();
  counts_.violations = static_cast<int64_t>(violations_.size());
}

void Simulation::Violation(const std::string& text) {
  violations_.push_back(text);
  trace_.push_back("VIOLATION " + text);
}

std::string Simulation::Trace() const {
  std::string text;
  for (const std::string& line : trace_) absl::StrAppend(&text, line, "\n");
  return text;
}

// --- Time.

void Simulation::At(absl::Duration delay, std::function<void()> action) {
  events_.push({now_ + delay, ++num_events_, std::move(action)});
}

void Simulation::RunUntil(absl::Time end) {
  while (!events_.empty() && events_.top().time <= end && violations_.empty()) {
    const Event event = events_.top();
    events_.pop();
    now_ = std::max(now_, event.time);
    event.action();
  }
  now_ = end;
}

SimulatedGang* Simulation::FindLive(int id) { return gangs_[static_cast<size_t>(id)].get(); }

std::vector<SimulatedGang*> Simulation::Live() {
  std::vector<SimulatedGang*> live;
  for (const auto& gang : gangs_) {
    if (gang != nullptr) live.push_back(gang.get());
  }
  return live;
}

void Simulation::After(absl::Duration delay, SimulatedGang* gang, std::function<void()> action) {
  At(delay, [this, id = gang->id, action = std::move(action)] {
    SimulatedGang* live = FindLive(id);
    if (live == nullptr) return;
    if (live->is_frozen) {
      backlog_[id].push_back(action);
    } else {
      action();
    }
  });
}

void Simulation::Thaw(SimulatedGang* gang) {
  if (!gang->is_frozen) return;
  gang->is_frozen = gang->is_stuck = false;
  for (const auto& action : std::exchange(backlog_[gang->id], {})) {
    if (FindLive(gang->id) != nullptr) action();
  }
}

// --- The coordinator.

void Simulation::StartCoordinator() {
  machine_ = std::make_unique<JobMachine>(
      JobMachine::Options{.job = job_, .random = [this] { return random_(); }}, record_);
  Actions actions;
  machine_->Start(now_, &actions);
  CarryOut(actions);
}

void Simulation::CrashCoordinator() {
  ++counts_.coordinator_crashes;
  trace_.push_back("the coordinator crashes");
  machine_ = nullptr;
  for (const auto& [number, stream] : std::exchange(peers_, {})) {
    if (SimulatedGang* gang = FindLive(streams_[stream].gang); gang != nullptr) BreakStream(gang);
  }
  last_ready_.clear();
  to_keep_.clear();
  At(Ms(50 + Roll(2000)), [this] {
    if (machine_ == nullptr) StartCoordinator();
  });
}

// What was seen and not written down is lost in a crash.
void Simulation::Tell(const std::function<void(JobMachine*, Actions*)>& event) {
  if (machine_ == nullptr) return;
  Actions actions;
  event(machine_.get(), &actions);
  if (has_accidents_ && Roll(1500) == 0) return CrashCoordinator();
  CarryOut(actions);
}

void Simulation::CarryOut(const Actions& actions) {
  for (const Action& action : actions) {
    if (action.order->has_world()) NoteHeld(action.order->world());
  }
  for (const Action& action : actions) {
    if (action.kind == Action::Kind::kAppend) CheckEntry(action.entry);
  }
  for (const Action& action : actions) {
    const auto peer = peers_.find(action.gang);
    if (peer == peers_.end()) continue;
    if (action.kind == Action::Kind::kSend) {
      CheckOrder(action.gang, *action.order);
      trace_.push_back(
          absl::StrCat("  to gang ", action.gang, ": ", action.order->ShortDebugString()));
      SendDown(peer->second,
               [order = action.order](SimulatedGang* gang) { gang->Receive(*order); });
    } else if (action.kind == Action::Kind::kClose) {
      const int64_t stream = peer->second;
      peers_.erase(peer);
      CloseStream(stream, action.status);
    }
  }
  while (trace_.size() > kTraceLines) trace_.pop_front();
}

void Simulation::CloseStream(int64_t stream, const absl::Status& status) {
  if (streams_[stream].number != 0) {
    trace_.push_back(absl::StrCat("  close ", streams_[stream].number, ": ", status.ToString()));
  }
  if (status.code() == absl::StatusCode::kDataLoss) {
    const SimulatedGang* gang = FindLive(streams_[stream].gang);
    if (gang != nullptr && !gang->has_lied) Violation("an honest gang is called a liar");
    ++counts_.liars_found;
  }
  SendDown(stream, [this, status](SimulatedGang* gang) { Closed(gang, status); });
}

void Simulation::CheckEntry(const LedgerEntry& entry) {
  trace_.push_back(absl::StrCat(absl::FormatTime("%M:%E3S ", now_, absl::UTCTimeZone()),
                                entry.ShortDebugString()));
  if (entry.has_voided()) {
    counts_.voided_steps += entry.voided().to_step() - entry.voided().from_step() + 1;
    for (const GangStatus& member : record_.gangs()) {
      const auto peer = peers_.find(member.gang());
      if (peer == peers_.end()) continue;
      const SimulatedGang* gang = FindLive(streams_[peer->second].gang);
      const bool is_lost = gang == nullptr || (gang->is_frozen && !gang->is_stuck);
      if (is_lost || gang->number != member.gang()) continue;
      if (gang->step >= entry.voided().from_step() && gang->step <= entry.voided().to_step()) {
        Violation(
            absl::StrCat("steps are voided while gang ", member.gang(), " has step ", gang->step));
      }
    }
  }
  if (entry.has_commit() &&
      entry.commit().report().fingerprint() != FingerprintOf(entry.commit().report().step())) {
    Violation("a commit with another fingerprint");
  }
  if (entry.has_lease()) CheckKept(entry.lease());
  counts_.hedges += entry.generation().reason().starts_with("hedge") ? 1 : 0;
  counts_.steals += entry.has_steal() ? 1 : 0;
  if (entry.has_wrong_answer() && entry.wrong_answer().liar() == 0) {
    undecided_.emplace(entry.wrong_answer().step(), entry.wrong_answer().slot());
  }
  counts_.undecided += entry.has_wrong_answer() && entry.wrong_answer().liar() == 0 ? 1 : 0;
  if (entry.has_job_finished() && entry.job_finished().state() == FAILED) {
    Violation("the job failed: " + entry.job_finished().error());
  }
  if (const absl::Status status = record_.Apply(entry); !status.ok()) {
    Violation(absl::StrCat("the ledger: ", status.ToString()));
  }
  ledger_.push_back(entry);
}

void Simulation::CheckOrder(int64_t gang, const Order& order) {
  if (order.has_regroup()) told_[gang] = order.regroup().generation();
  if (order.has_world() && order.world().generation() != told_[gang]) {
    Violation("a world of the past");
  }
  if (order.has_plan()) {
    if (order.plan().step() <= record_.committed_step()) Violation("a plan of a committed step");
    if (order.plan().generation() != told_[gang]) Violation("a plan of the past");
  }
  if (order.has_committed() && order.committed().step() > record_.committed_step()) {
    Violation("told of a commit that is not in the ledger");
  }
}

// What survivors hold and nobody else does is theirs to keep.
void Simulation::NoteHeld(const World& world) {
  if (to_keep_generation_ == world.generation()) return;
  to_keep_generation_ = world.generation();
  to_keep_step_ = world.step() + 1;
  to_keep_.clear();
  for (const World::Member& member : world.members()) {
    const Ready& ready = last_ready_[member.gang()];
    if (ready.applied_step() != world.step() || has_liars_) continue;
    to_keep_[member.gang()] = *SlotSet::FromRanges(ready.held());
  }
}

void Simulation::CheckKept(const Lease& lease) {
  if (lease.step() != to_keep_step_ || lease.generation() != to_keep_generation_) return;
  std::map<int64_t, SlotSet> shares;
  for (const Lease::Share& share : lease.shares()) {
    shares[share.gang()] = *SlotSet::FromRanges(share.slots());
  }
  for (const auto& [gang, held] : to_keep_) {
    const bool is_alone =
        std::none_of(to_keep_.begin(), to_keep_.end(), [&held, number = gang](const auto& other) {
          return other.first != number && other.second.Overlaps(held);
        });
    if (!is_alone) continue;
    counts_.kept_slots += held.size();
    if (!shares[gang].Contains(held)) {
      Violation(absl::StrCat("gang ", gang, " must do slots of step ", lease.step(), " again"));
    }
  }
  to_keep_.clear();
}

void Simulation::Tick() {
  for (SimulatedGang* gang : Live()) {
    const auto stream = streams_.find(gang->stream_id);
    const bool is_heard = stream != streams_.end() && stream->second.up_end == INT64_MAX &&
                          stream->second.number != 0 && (!gang->is_frozen || gang->is_stuck);
    GangMessage heartbeat;
    heartbeat.mutable_heartbeat();
    if (is_heard) Say(gang, heartbeat);
  }
  Tell([this](JobMachine* machine, Actions* actions) { machine->OnTick(now_, actions); });
  At(Ms(400), [this] { Tick(); });
}

void Simulation::Ask(Verb verb) {
  ++counts_.verbs;
  trace_.push_back(absl::StrCat("verb ", static_cast<int>(verb)));
  Tell([&](JobMachine* machine, Actions* actions) {
    const bool is_allowed = machine->OnVerb(verb, "ann", now_, actions).ok();
    if (!is_allowed && !actions->empty()) Violation("a verb was refused and changed something");
  });
}

// --- The network.

void Simulation::Connect(SimulatedGang* gang) {
  if (machine_ == nullptr || !machine_->record().finished().has_value()) {
    gang->stream_id = ++last_stream_;
    streams_[last_stream_] = Stream();
    streams_[last_stream_].gang = gang->id;
    GangMessage message;
    *message.mutable_join() = JoinAt(job_, -1);
    message.mutable_join()->set_gang(gang->number);
    return Say(gang, message);
  }
  Exit(gang);  // the job is done
}

void Simulation::Say(SimulatedGang* gang, const GangMessage& message) {
  const auto found = streams_.find(gang->stream_id);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  const int64_t place = stream.num_up++;
  stream.up = std::max(stream.up, now_ + Ms(1 + (has_accidents_ ? Roll(30) : 1)));
  At(stream.up - now_, [this, id = found->first, place, message] {
    Stream& self = streams_[id];
    if (place >= self.up_end) return;
    self.up_done = place + 1;
    Arrive(id, message);
  });
}

void Simulation::SendDown(int64_t id, std::function<void(SimulatedGang*)> action) {
  Stream& stream = streams_[id];
  const int64_t place = stream.num_down++;
  stream.down = std::max(stream.down, now_ + Ms(1 + (has_accidents_ ? Roll(30) : 1)));
  At(stream.down - now_, [this, id, place, action = std::move(action)] {
    Stream& self = streams_[id];
    if (place >= self.down_end) return;
    self.down_done = place + 1;
    SimulatedGang* gang = FindLive(self.gang);
    if (gang == nullptr || gang->stream_id != id) return;
    After(absl::ZeroDuration(), gang, [gang, id, action] {
      if (gang->stream_id == id) action(gang);
    });
  });
}

void Simulation::Arrive(int64_t id, const GangMessage& message) {
  Stream& stream = streams_[id];
  if (message.has_join()) return JoinArrives(id, message.join());
  const auto peer = peers_.find(stream.number);
  const bool is_heard = stream.number != 0 && peer != peers_.end() && peer->second == id;
  if (!is_heard) {
    ++counts_.late_messages;
    return;
  }
  if (message.has_ready()) last_ready_[stream.number] = message.ready();
  if (!message.has_heartbeat()) {
    trace_.push_back(absl::StrCat("from gang ", stream.number, ": ", message.ShortDebugString()));
  }
  Tell([&](JobMachine* machine, Actions* actions) {
    machine->OnMessage(stream.number, message, now_, actions);
  });
}

void Simulation::JoinArrives(int64_t id, const Join& original) {
  SimulatedGang* gang = FindLive(streams_[id].gang);
  if (gang == nullptr || gang->stream_id != id) return;
  if (machine_ == nullptr) return Closed(gang, absl::UnavailableError("nobody serves this"));
  Join join = original;
  const JobRecord& record = machine_->record();
  if (!record.is_open() || (gang->step < 0 && Roll(3) == 0)) {
    // It loads what the ledger knows before it asks in.
    const int64_t known = *std::prev(checkpoints_.upper_bound(record.committed_step()));
    gang->step = known;
    join = JoinAt(job_, known);
    join.set_gang(original.gang());
  }
  join.set_job_digest(job_digest_);
  Tell([&](JobMachine* machine, Actions* actions) {
    const auto number = machine->OnJoin(join, now_, actions);
    if (!number.ok()) {
      if (!actions->empty()) Violation("a refused gang changed something");
      return CloseStream(id, number.status());
    }
    ++counts_.joins;
    streams_[id].number = *number;
    if (const auto old = peers_.find(*number); old != peers_.end()) {
      CloseStream(old->second, absl::AbortedError("replaced"));
    }
    peers_[*number] = id;
  });
}

// The gang learns that its stream has ended.
void Simulation::Closed(SimulatedGang* gang, const absl::Status& status) {
  gang->stream_id = 0;
  if (status.code() == absl::StatusCode::kDataLoss) return Exit(gang);
  After(Ms(20 + Roll(200)), gang, [this, gang] {
    if (gang->stream_id == 0) Connect(gang);
  });
}

// A suffix of what is on its way is lost; each side notices in its own time, or never.
void Simulation::BreakStream(SimulatedGang* gang) {
  const auto found = streams_.find(gang->stream_id);
  if (found == streams_.end() || found->second.up_end != INT64_MAX) return;
  Stream& stream = found->second;
  stream.up_end = stream.up_done + Roll(static_cast<int>(stream.num_up - stream.up_done) + 1);
  stream.down_end =
      stream.down_done + Roll(static_cast<int>(stream.num_down - stream.down_done) + 1);
  const int64_t id = found->first;
  After(Ms(Roll(300)), gang, [this, gang, id] {
    if (gang->stream_id == id) Closed(gang, absl::UnavailableError("broken"));
  });
  if (Roll(4) > 0)
    At(Ms(Roll(300)), [this, id] {
      const auto peer = peers_.find(streams_[id].number);
      if (peer == peers_.end() || peer->second != id) return;
      peers_.erase(peer);
      Tell([&](JobMachine* machine, Actions* actions) {
        machine->OnDisconnected(streams_[id].number, now_, actions);
      });
    });
}

void Simulation::EndStream(SimulatedGang* gang) { gang->stream_id = 0; }

void Simulation::Exit(SimulatedGang* gang) {
  // What it said last still arrives.
  dead_.push_back(std::move(gangs_[static_cast<size_t>(gang->id)]));
}

}  // namespace liquid::testing
