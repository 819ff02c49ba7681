#include "tests/chaos/chaos_schedule.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/ledger.h"
#include "tests/chaos/recomputation.h"
#include "tests/system/gang_processes.h"

namespace liquid::testing {
namespace {

constexpr int kMaxGangs = 3;
// How long a rank stays in each phase at least; how long an accident waits for a rank in its phase.
constexpr double kPhaseSeconds = 0.01;
constexpr absl::Duration kAimTimeout = absl::Milliseconds(1500);

class Schedule {
 public:
  Schedule(std::string directory, std::string job_file, std::string fingerprint, uint64_t seed)
      : directory_(std::move(directory)),
        job_file_(std::move(job_file)),
        fingerprint_(std::move(fingerprint)),
        random_(seed),
        num_ranks_(1 + Roll(2)) {
    for (int i = 0; i < kNumPhases; ++i) aims_.push_back(static_cast<Phase>(i));
    std::shuffle(aims_.begin(), aims_.end(), random_);
  }

  ~Schedule() {
    for (Gang& gang : gangs_) gang.Thaw();
  }

  ChaosResult Run(absl::Duration timeout) {
    const absl::Time start = absl::Now();
    StartCoordinator("127.0.0.1:0");
    if (coordinator_ == nullptr) return {counts_, "the coordinator did not start", 0};
    StartGang();
    while (!JobIsDone() && absl::Now() - start < timeout) {
      OneEvent();
      absl::SleepFor(absl::Milliseconds(50 + Roll(600)));
      Tend();
    }
    ChaosResult result;
    result.problem = JobIsDone() ? Judge() : "the job did not end in time";
    result.counts = counts_;
    result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
    return result;
  }

 private:
  struct Gang {
    void Thaw() {
      for (const pid_t pid : frozen) kill(pid, SIGCONT);
      frozen.clear();
    }

    std::unique_ptr<Process> process;
    std::string marks;  // of its ranks (phase_marks.h)
    absl::Time frozen_until = absl::InfinitePast();
    std::vector<pid_t> frozen;
  };

  // A rank that is in the phase which the next accident aims at.
  struct Target {
    Gang* gang;
    pid_t pid;
    Phase phase;
  };

  int Roll(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  std::string Output() const { return directory_ + "/output"; }

  void StartCoordinator(const std::string& listen) {
    coordinator_ = testing::StartCoordinator(
        job_file_, listen, {"--set", absl::StrCat("output=", Output())}, &address_);
  }

  void StartGang() {
    ++counts_.joins;
    Gang& gang = gangs_.emplace_back();
    gang.marks = absl::StrCat(directory_, "/marks-", counts_.joins);
    gang.process = testing::StartGang(
        address_, num_ranks_, 0.01 + 0.001 * Roll(60),
        {"--test-phase-log", gang.marks, "--test-phase-seconds", absl::StrCat(kPhaseSeconds)});
  }

  Gang* AnyGang() {
    return gangs_.empty() ? nullptr : &gangs_[Roll(static_cast<int>(gangs_.size()))];
  }

  void OneEvent() {
    Gang* gang = AnyGang();
    const int kind = Roll(100);
    if (kind < 30) {
      if (gangs_.size() < kMaxGangs) StartGang();
    } else if (kind < 55) {
      if (gang != nullptr) Kill();
    } else if (kind < 68) {
      if (gang != nullptr) Freeze();
    } else if (kind < 80) {
      if (gang != nullptr) Drain(*gang);
    } else if (kind < 88) {
      if (coordinator_ == nullptr) return;
      ++counts_.coordinator_kills;
      coordinator_->Signal(SIGKILL);
      Keep(*coordinator_, "coordinator");
      coordinator_->Wait();
      StartCoordinator(address_);
    } else {
      ++counts_.verbs;
      const char* const verbs[] = {"pause", "checkpoint", "resume"};
      RunToEnd({"liquid", verbs[Roll(3)], Output()});
    }
  }

  // Each accident aims at another phase, in turns; nothing if no rank comes by in time.
  std::optional<Target> Aim() {
    const Phase phase = aims_[static_cast<size_t>(num_aims_++) % aims_.size()];
    if (phase == Phase::kCheckpoint) RunToEnd({"liquid", "checkpoint", Output()});
    const absl::Time deadline = absl::Now() + kAimTimeout;
    for (int first = Roll(kMaxGangs); absl::Now() < deadline;
         ++first, absl::SleepFor(absl::Milliseconds(1))) {
      Gang& gang = gangs_[static_cast<size_t>(first) % gangs_.size()];
      if (!gang.frozen.empty()) continue;
      for (const pid_t pid : LoggingProcesses(gang.marks)) {
        if (IsInPhase(gang.marks, pid, phase) && !IsStill(pid)) return Target{&gang, pid, phase};
      }
    }
    return std::nullopt;
  }

  // A hit is a hit if the rank was still in that phase when it was dead, or stopped.
  void Count(const Target& target) {
    const bool is_hit = WaitUntilStill(target.pid, absl::Now() + absl::Seconds(5)) &&
                        IsInPhase(target.gang->marks, target.pid, target.phase);
    if (is_hit) ++counts_.hits[static_cast<size_t>(target.phase)];
  }

  void Kill() {
    ++counts_.kills;
    if (Roll(4) == 0) {
      AnyGang()->process->Signal(SIGKILL);  // mpirun itself
      return;
    }
    if (const auto target = Aim()) {
      kill(target->pid, SIGKILL);
      Count(*target);
      return;
    }
    const Gang* gang = AnyGang();
    const std::vector<pid_t> ranks = Descendants(gang->process->pid());
    if (!ranks.empty()) kill(ranks[Roll(static_cast<int>(ranks.size()))], SIGKILL);
  }

  void Freeze() {
    const auto target = Aim();
    Gang& gang = target.has_value() ? *target->gang : *AnyGang();
    if (!gang.frozen.empty()) return;
    ++counts_.freezes;
    if (target.has_value()) kill(target->pid, SIGSTOP);
    gang.frozen = Descendants(gang.process->pid());
    for (const pid_t pid : gang.frozen) kill(pid, SIGSTOP);
    gang.frozen_until = absl::Now() + absl::Milliseconds(100 + Roll(3000));
    if (target.has_value()) Count(*target);
  }

  void Drain(Gang& gang) {
    ++counts_.drains;
    if (Roll(2) == 0) {
      gang.process->Signal(SIGUSR1);  // which mpirun passes on
    } else {
      RunToEnd({"liquid", "drain", absl::StrCat(1 + Roll(counts_.joins)), Output()});
    }
  }

  // What goes on without accidents: the frozen thaw, the dead are buried, somebody always works.
  void Tend() {
    for (Gang& gang : gangs_) {
      if (absl::Now() >= gang.frozen_until) gang.Thaw();
    }
    std::erase_if(gangs_, [this](Gang& gang) {
      siginfo_t info{};
      const bool ended = waitid(P_PID, static_cast<id_t>(gang.process->pid()), &info,
                                WEXITED | WNOHANG | WNOWAIT) == 0 &&
                         info.si_pid != 0;
      if (!ended) return false;
      gang.Thaw();
      Keep(*gang.process, "gang");
      return true;
    });
    if (coordinator_ == nullptr) StartCoordinator(address_);
    if (JobIsDone()) return;
    const bool all_are_frozen = std::all_of(gangs_.begin(), gangs_.end(),
                                            [](const Gang& gang) { return !gang.frozen.empty(); });
    if (all_are_frozen && gangs_.size() < kMaxGangs) StartGang();
    if (Roll(8) == 0) RunToEnd({"liquid", "resume", Output()});
  }

  bool JobIsDone() {
    return coordinator_ == nullptr ? false
                                   : absl::StrContains(coordinator_->output(), "the job is done");
  }

  std::string Judge() {
    for (Gang& gang : gangs_) {
      gang.Thaw();
      gang.process->Wait(absl::Seconds(30));
      Keep(*gang.process, "gang");
    }
    gangs_.clear();
    coordinator_->Wait(absl::Seconds(30));
    Keep(*coordinator_, "coordinator");
    const std::string fingerprint = FingerprintOfJob(Output());
    if (fingerprint != fingerprint_) {
      return absl::StrCat("the fingerprint is ", fingerprint, ", not ", fingerprint_);
    }
    const Finished audit = RunToEnd({"liquid", "audit", Output()});
    if (audit.exit_code != 0) return absl::StrCat("the audit fails: ", audit.output);
    std::ofstream(directory_ + "/audit.log") << audit.output;
    return JudgeWork();
  }

  std::string JudgeWork() {
    std::vector<LedgerEntry> entries;
    const auto head = ReadLedger(LedgerPath(Output()), [&entries](const LedgerEntry& entry) {
      entries.push_back(entry);
      return absl::OkStatus();
    });
    if (!head.ok()) return head.status().ToString();
    std::vector<std::map<pid_t, std::vector<PhaseMark>>> gangs;
    for (int i = 1; i <= counts_.joins; ++i) {
      gangs.push_back(ReadMarks(absl::StrCat(directory_, "/marks-", i)));
    }
    const Recomputation work = JudgeRecomputation(entries, gangs);
    counts_.finished_slots += work.finished;
    counts_.lost_slots += work.lost;
    counts_.recomputed_slots += work.recomputed;
    return work.problem;
  }

  // For whoever has to find out what went wrong.
  void Keep(const Process& process, const char* what) {
    std::ofstream(absl::StrCat(directory_, "/", what, "-", ++num_logs_, ".log"))
        << process.output();
  }

  const std::string directory_;
  const std::string job_file_;
  const std::string fingerprint_;
  std::mt19937_64 random_;
  const int num_ranks_;
  std::unique_ptr<Process> coordinator_;
  std::string address_;
  std::vector<Gang> gangs_;
  std::vector<Phase> aims_;  // in the order in which they are taken
  int num_aims_ = 0;
  ChaosCounts counts_;
  int num_logs_ = 0;
};

}  // namespace

ChaosCounts& ChaosCounts::operator+=(const ChaosCounts& other) {
  kills += other.kills;
  freezes += other.freezes;
  joins += other.joins;
  drains += other.drains;
  coordinator_kills += other.coordinator_kills;
  verbs += other.verbs;
  for (size_t i = 0; i < hits.size(); ++i) hits[i] += other.hits[i];
  finished_slots += other.finished_slots;
  lost_slots += other.lost_slots;
  recomputed_slots += other.recomputed_slots;
  return *this;
}

ChaosJob::ChaosJob(const std::string& directory) : directory_(directory) {
  TinyJob job;
  job.directory = directory;
  job.eval_every_steps = 5;
  job.checkpoint_every_steps = 4;
  job.heartbeat_timeout_seconds = 1;
  job.audit_every = 5;
  WriteTinyJob(job);
  const Finished run = RunToEnd({"liquid", "train", directory_ + "/job.yaml", "--set",
                                 absl::StrCat("output=", directory_, "/reference")});
  if (run.exit_code != 0) {
    problem_ = run.output;
    return;
  }
  fingerprint_ = FingerprintOfJob(directory_ + "/reference");
}

ChaosResult ChaosJob::Run(uint64_t seed, absl::Duration timeout) const {
  const std::string directory = absl::StrCat(directory_, "/run-", seed);
  std::filesystem::create_directories(directory);
  ChaosResult result;
  {
    Schedule schedule(directory, directory_ + "/job.yaml", fingerprint_, seed);
    result = schedule.Run(timeout);
  }
  std::error_code ignored;
  if (result.problem.empty()) std::filesystem::remove_all(directory, ignored);
  return result;
}

}  // namespace liquid::testing
