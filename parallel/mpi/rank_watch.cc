#include "parallel/mpi/rank_watch.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"

namespace liquid {
namespace {

constexpr int kTag = 1;  // nothing else goes this way
constexpr char kAlive = 'a';
constexpr char kFarewell = 'f';
// How long a watch that ends waits for the others' farewells: MPI likes no message left behind.
constexpr absl::Duration kFarewellPatience = absl::Seconds(1);

}  // namespace

struct RankWatch::Comm {
  MPI_Comm all = MPI_COMM_NULL;
};

struct RankWatch::Peer {
  int rank = 0;
  int num_silent = 0;  // intervals
  bool has_left = false;
  // On its way, by `sent`; kept until the process ends, as MPI may be slower than the watch.
  char* word = new char(kAlive);
  MPI_Request sent = MPI_REQUEST_NULL;
};

RankWatch::RankWatch(Options options)
    : options_(std::move(options)), comm_(std::make_unique<Comm>()) {
  MPI_Comm_dup(MPI_COMM_WORLD, &comm_->all);
  MPI_Comm_set_errhandler(comm_->all, MPI_ERRORS_RETURN);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(comm_->all, &rank);
  MPI_Comm_size(comm_->all, &size);
  const int end = rank == 0 ? size : 1;
  for (int peer = rank == 0 ? 1 : 0; peer < end; ++peer) peers_.push_back({.rank = peer});
  if (!peers_.empty()) thread_ = std::thread([this] { Run(); });
}

RankWatch::~RankWatch() {
  {
    MutexLock lock(mutex_);
    is_ending_ = true;
  }
  changed_.SignalAll();
  if (thread_.joinable()) thread_.join();
  MPI_Comm_free(&comm_->all);
}

void RankWatch::Run() {
  do {
    for (Peer& peer : peers_) Send(peer, kAlive);
    Receive();
    Count();
  } while (WaitForInterval());

  const absl::Time deadline = absl::Now() + kFarewellPatience;
  const auto has_ended = [](const Peer& peer) {
    return peer.has_left && *peer.word == kFarewell && peer.sent == MPI_REQUEST_NULL;
  };
  while (!std::all_of(peers_.begin(), peers_.end(), has_ended) && absl::Now() < deadline) {
    for (Peer& peer : peers_) Send(peer, kFarewell);
    Receive();
    absl::SleepFor(absl::Milliseconds(1));
  }
}

// Unless the last word is still on its way, or was the farewell.
void RankWatch::Send(Peer& peer, char word) {
  int is_sent = 0;
  MPI_Test(&peer.sent, &is_sent, MPI_STATUS_IGNORE);
  if (is_sent == 0 || *peer.word == kFarewell || (peer.has_left && word == kAlive)) return;
  *peer.word = word;
  MPI_Isend(peer.word, 1, MPI_CHAR, peer.rank, kTag, comm_->all, &peer.sent);
}

void RankWatch::Receive() {
  for (Peer& peer : peers_) {
    while (true) {
      int has_come = 0;
      MPI_Iprobe(peer.rank, kTag, comm_->all, &has_come, MPI_STATUS_IGNORE);
      if (has_come == 0) break;
      char word = kAlive;
      MPI_Recv(&word, 1, MPI_CHAR, peer.rank, kTag, comm_->all, MPI_STATUS_IGNORE);
      peer.num_silent = 0;
      peer.has_left |= word == kFarewell;
    }
  }
}

void RankWatch::Count() {
  int own = 0;
  MPI_Comm_rank(comm_->all, &own);
  const double patience = own <= 1 ? 1.0 : 1.5;
  for (Peer& peer : peers_) {
    if (peer.has_left || has_missed_) continue;
    ++peer.num_silent;
    if (peer.num_silent * options_.interval > patience * options_.timeout) {
      has_missed_ = true;
      options_.on_silence(peer.rank);
    }
  }
}

// False if the watch is to end.
bool RankWatch::WaitForInterval() {
  using Clock = std::chrono::steady_clock;  // nobody shall be missed because the time was set
  const auto end = Clock::now() + absl::ToChronoNanoseconds(options_.interval);
  MutexLock lock(mutex_);
  while (!is_ending_ && Clock::now() < end) {
    changed_.WaitFor(mutex_, absl::FromChrono(end - Clock::now()));
  }
  return !is_ending_;
}

}  // namespace liquid
