// Ranks of one mpirun that tell each other that they live.
//
// MPI ends every rank when one dies, but knows nothing of one that only stops: a frozen process, a
// machine that hangs, a network that swallows all. Whoever waits for it by MPI waits for ever.
#ifndef LIQUID_PARALLEL_MPI_RANK_WATCH_H_
#define LIQUID_PARALLEL_MPI_RANK_WATCH_H_

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace liquid {

// A thread that sends signs of life, whatever the rank computes or waits for: rank 0 exchanges them
// with every other rank. So a rank that is only slow is not missed, however slow.
class RankWatch {
 public:
  struct Options {
    absl::Duration interval;  // between two signs of life
    // Of silence, before a rank is missed. Counted in intervals that the watch itself has lived
    // through: a gang that is frozen as a whole, and thawed, misses nobody.
    absl::Duration timeout;
    // Called once, by the watch's thread: rank `rank` is missed. On rank 0 for the others; on the
    // others for rank 0, on rank 1 first, elsewhere when half a timeout more has not ended it all.
    std::function<void(int rank)> on_silence;
  };
  // Collective among all ranks of the mpirun; REQUIRES an MpiSession that outlives it, and threads
  // that MPI serves. A rank that freezes before or after is not missed.
  explicit RankWatch(Options options);
  // Says farewell, so that this rank is not missed; waits a second for the others' at most.
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

 private:
  struct Comm;  // of MPI, whose header is not for everyone
  struct Peer;

  void Run();
  void Send(Peer& peer, char word);
  void Receive();
  void Count();
  bool WaitForInterval();

  const Options options_;
  const std::unique_ptr<Comm> comm_;
  std::vector<Peer> peers_;
  bool has_missed_ = false;
  Mutex mutex_;
  CondVar changed_;
  bool is_ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_MPI_RANK_WATCH_H_
