#include "tests/emulated_cuda/nccl_communicator.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "tests/emulated_cuda/options.h"
#include "tests/emulated_cuda/streams.h"

namespace liquid::emulated {
namespace {

constexpr double kJoinSeconds = 120;
constexpr double kSecondsBeforeLookingForTheDead = 0.2;

double SecondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A zombie is dead: whoever started it has only not asked yet.
bool IsAlive(int process) {
  if (kill(process, 0) != 0 && errno == ESRCH) return false;
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t state = line.rfind(") ");
  return state == std::string::npos || (line[state + 2] != 'Z' && line[state + 2] != 'X');
}

}  // namespace

Communicator::Communicator(std::string name, int num_ranks, int rank)
    : name_(std::move(name)),
      num_ranks_(num_ranks),
      rank_(rank),
      device_(CurrentDevice()),
      state_bytes_(sizeof(SharedState) + num_ranks * kSlotBytes +
                   num_ranks * num_ranks * sizeof(Mailbox)) {}

std::shared_ptr<Communicator> Communicator::Join(const std::string& name, int num_ranks, int rank) {
  std::shared_ptr<Communicator> self(new Communicator(name, num_ranks, rank));
  const int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0) return nullptr;
  void* memory = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(self->state_bytes_)) == 0) {
    memory = mmap(nullptr, self->state_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  close(file);
  if (memory == MAP_FAILED) return nullptr;
  self->state_ = static_cast<SharedState*>(memory);
  self->own_state().process = getpid();
  self->own_state().device = NumberInMachine(self->device_);
  // The last one to come takes the name away, and those before hold the memory.
  if (self->state_->num_joined.fetch_add(1) + 1 == num_ranks) shm_unlink(name.c_str());
  return self;
}

Communicator::~Communicator() {
  if (state_ == nullptr) return;
  if (!AllHaveJoined()) shm_unlink(name_.c_str());
  munmap(state_, state_bytes_);
}

bool Communicator::TwoShareADevice() const {
  for (int rank = 0; rank < num_ranks_; ++rank) {
    for (int other = 0; other < rank; ++other) {
      if (state_of(rank).device == state_of(other).device) return true;
    }
  }
  return false;
}

bool Communicator::WaitForAll() const {
  const double deadline = SecondsNow() + kJoinSeconds;
  while (!AllHaveJoined()) {
    if (SecondsNow() > deadline) return false;
    usleep(200);
  }
  return true;
}

void Communicator::HostBarrier() {
  own_state().num_host_steps.store(++num_host_steps_, std::memory_order_release);
  for (int rank = 0; rank < num_ranks_; ++rank) {
    while (state_of(rank).num_host_steps.load(std::memory_order_acquire) < num_host_steps_) {
      usleep(100);
    }
  }
}

char* Communicator::slot(int rank) {
  return reinterpret_cast<char*>(state_ + 1) + static_cast<size_t>(rank) * kSlotBytes;
}

Mailbox& Communicator::mailbox(int from, int to) {
  return reinterpret_cast<Mailbox*>(slot(num_ranks_))[from * num_ranks_ + to];
}

uint64_t Communicator::EndStep() {
  own_state().num_steps.store(++num_steps_, std::memory_order_release);
  return num_steps_;
}

bool Communicator::HaveReached(uint64_t num_steps, const char* what) {
  int missing = 0;
  while (missing < num_ranks_ &&
         state_of(missing).num_steps.load(std::memory_order_acquire) >= num_steps) {
    ++missing;
  }
  if (missing == num_ranks_) {
    waiting_since_ = 0;
    return true;
  }
  const double now = SecondsNow();
  if (waiting_since_ == 0) {
    waiting_since_ = now;
    has_warned_ = false;
  }
  const double waited = now - waiting_since_;
  const std::string where = std::string(what) + " number " + std::to_string(num_calls_) +
                            ": rank " + std::to_string(missing);
  const RankState& other = state_of(missing);
  const bool has_aborted = other.has_aborted != 0;
  if (has_aborted || (waited > kSecondsBeforeLookingForTheDead && !IsAlive(other.process))) {
    // It may have taken the step between the first look at it and its end.
    if (other.num_steps.load(std::memory_order_acquire) >= num_steps) return false;
    Fail(ncclRemoteError, where + (has_aborted ? " has aborted its communicator" : " has died"));
  }
  if (waited > GetOptions().nccl_warn_seconds && !has_warned_) {
    has_warned_ = true;
    fprintf(stderr, "emulated NCCL: rank %d of %d has waited %.0f s in %s\n", rank_, num_ranks_,
            waited, where.c_str());
  }
  return false;
}

void Communicator::Fail(ncclResult_t result, const std::string& why) {
  const std::lock_guard guard(text_lock_);
  if (failure_ != ncclSuccess) return;
  failure_text_ = why;
  failure_ = result;
  fprintf(stderr, "emulated NCCL: rank %d of %d: %s\n", rank_, num_ranks_, why.c_str());
}

std::string Communicator::failure_text() const {
  const std::lock_guard guard(text_lock_);
  return failure_text_;
}

void Communicator::Abort() {
  own_state().has_aborted = 1;
  is_aborted_ = true;
}

}  // namespace liquid::emulated
