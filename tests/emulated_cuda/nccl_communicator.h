// A communicator of emulated NCCL: ranks are processes, or threads, of one machine, and meet in
// POSIX shared memory. No MPI inside, so it runs under mpirun, a launcher or fork alike.
#ifndef LIQUID_TESTS_EMULATED_CUDA_NCCL_COMMUNICATOR_H_
#define LIQUID_TESTS_EMULATED_CUDA_NCCL_COMMUNICATOR_H_

#include <nccl.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

namespace liquid::emulated {

inline constexpr int kMaxRanks = 64;
inline constexpr size_t kSlotBytes = 256 << 10;
inline constexpr size_t kMailboxBytes = 64 << 10;

// What a rank calls; the same in all ranks, or it is a mistake.
struct CollectiveCall {
  uint64_t number;
  int kind;
  int type;
  int reduction;
  int root;
  uint64_t count;

  bool operator==(const CollectiveCall&) const = default;
};

struct RankState {
  std::atomic<uint64_t> num_steps;       // that it has finished, of collectives
  std::atomic<uint64_t> num_host_steps;  // and of splits
  std::atomic<int> process;
  int device;  // its number in the machine
  std::atomic<int> has_aborted;
  CollectiveCall call;
  int color;
  int key;
};

// Bytes from one rank to another. A message is complete when the receiver has all of it.
struct Mailbox {
  std::atomic<uint64_t> num_written;
  std::atomic<uint64_t> num_read;
  std::atomic<uint64_t> num_posted;  // messages
  std::atomic<uint64_t> num_taken;
  std::atomic<uint64_t> message_bytes;  // of the one that is posted
  char data[kMailboxBytes];
};

// Zero when it is made. Behind it are num_ranks slots and num_ranks^2 mailboxes.
struct SharedState {
  std::atomic<int> num_joined;
  RankState ranks[kMaxRanks];
};

// One rank's end.
class Communicator {
 public:
  // Null where the machine refuses. Other ranks may not be there yet.
  static std::shared_ptr<Communicator> Join(const std::string& name, int num_ranks, int rank);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int num_ranks() const { return num_ranks_; }
  int device() const { return device_; }
  const std::string& name() const { return name_; }

  bool AllHaveJoined() const { return state_->num_joined.load() >= num_ranks_; }
  // What NCCL refuses. REQUIRES: AllHaveJoined().
  bool TwoShareADevice() const;
  // Blocks; false if somebody has not come after two minutes.
  bool WaitForAll() const;
  // Blocks until every rank has called it.
  void HostBarrier();

  RankState& state_of(int rank) const { return state_->ranks[rank]; }
  RankState& own_state() { return state_->ranks[rank_]; }
  char* slot(int rank);
  Mailbox& mailbox(int from, int to);

  // Steps of collectives: ranks go through them together. EndStep returns how many this rank has
  // finished; HaveReached says whether all have finished as many, and looks for the dead.
  uint64_t EndStep();
  bool HaveReached(uint64_t num_steps, const char* what);
  uint64_t NextCallNumber() { return ++num_calls_; }
  int NextSplitNumber() { return num_splits_++; }

  // The first failure stays.
  void Fail(ncclResult_t result, const std::string& why);
  ncclResult_t failure() const { return static_cast<ncclResult_t>(failure_.load()); }
  std::string failure_text() const;
  // What is queued ends, undone, here; the others learn that this rank is gone.
  void Abort();
  bool is_aborted() const { return is_aborted_; }

 private:
  Communicator(std::string name, int num_ranks, int rank);

  const std::string name_;
  const int num_ranks_;
  const int rank_;
  const int device_;
  const size_t state_bytes_;
  SharedState* state_ = nullptr;
  uint64_t num_steps_ = 0;
  uint64_t num_host_steps_ = 0;
  uint64_t num_calls_ = 0;
  int num_splits_ = 0;
  double waiting_since_ = 0;  // seconds; zero while it does not wait
  bool has_warned_ = false;
  std::atomic<int> failure_{ncclSuccess};
  std::atomic<bool> is_aborted_{false};
  mutable std::mutex text_lock_;
  std::string failure_text_;
};

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_NCCL_COMMUNICATOR_H_
