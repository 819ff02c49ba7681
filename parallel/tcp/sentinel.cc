#include "parallel/tcp/sentinel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <thread>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace liquid {
namespace {

// Of one word to the sentinel: what, and the worker's number of the file.
constexpr char kLend = 'L';
constexpr char kReturn = 'R';
constexpr char kQuit = 'Q';
constexpr char kReady = 'S';  // from the sentinel: nothing that reaches the worker reaches it now
constexpr int kPatienceSeconds = 5;
struct Word {
  char what;
  int fd;
};
// Room for one file handle beside a word.
union Ancillary {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

absl::Status Errno(const char* what) {
  const int error = errno;
  return absl::UnavailableError(absl::StrCat("sentinel: ", what, ": ", std::strerror(error)));
}

// The sentinel's side, in its own process. Two threads: one waits for the worker's death, one
// listens to what the worker says meanwhile.
class Watch {
 public:
  Watch(pthread_mutex_t* life, int line) : life_(life), line_(line) {}

  [[noreturn]] void Run() {
    Word ready{};
    ready.what = kReady;
    if (send(line_, &ready, sizeof(ready), MSG_NOSIGNAL) != sizeof(ready)) _exit(0);
    std::thread([this] {
      if (pthread_mutex_lock(life_) == EOWNERDEAD) EndAll();
      _exit(0);
    }).detach();
    while (Listen()) {
    }
    EndAll();
    _exit(0);
  }

 private:
  // Waits for the next word and takes it. False: there is none, nor will be.
  bool Listen() {
    pollfd readable{line_, POLLIN, 0};
    while (poll(&readable, 1, -1) < 0 && errno == EINTR) {
    }
    MutexLock lock(mutex_);
    return TakeWord();
  }

  // False: there is none now. A word is on the line or in `lent_`, never between: else EndAll would
  // miss it.
  bool TakeWord() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Word word{};
    Ancillary ancillary{};
    iovec part{&word, sizeof(word)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.bytes;
    message.msg_controllen = sizeof(ancillary.bytes);
    ssize_t count;
    do {
      count = recvmsg(line_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    if (count != sizeof(word)) return false;
    if (word.what == kQuit) _exit(0);
    int copy = -1;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
      std::memcpy(&copy, CMSG_DATA(header), sizeof(copy));
    }
    const auto [it, is_first] = lent_.try_emplace(word.fd, copy);
    if (!is_first) {
      close(it->second);
      it->second = copy;
    }
    if (copy < 0) lent_.erase(it);  // returned
    return true;
  }

  void EndAll() {
    MutexLock lock(mutex_);
    // What the worker lent or took back in its last moment counts as well.
    while (TakeWord()) {
    }
    for (const auto& [number, copy] : lent_) shutdown(copy, SHUT_RDWR);
  }

  pthread_mutex_t* const life_;
  const int line_;
  Mutex mutex_;
  std::map<int, int> lent_ ABSL_GUARDED_BY(mutex_);  // the worker's number -> the copy
};

// Cuts what a child shares with its parent: signals to its group, the terminal, its open files. A
// file that stays open here would look open to whoever waits for its end: mpirun, a log's reader.
int LeaveTheWorker(int line) {
  setsid();
  prctl(PR_SET_NAME, "liquid-sentinel");
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2}) {
    std::signal(number, SIG_IGN);
  }
  const int null = open("/dev/null", O_RDWR);
  for (const int standard : {0, 1, 2}) dup2(null, standard);
  constexpr int kLine = 3;
  if (line != kLine) dup2(line, kLine);
  if (close_range(kLine + 1, ~0U, 0) != 0) {
    const auto limit = static_cast<int>(sysconf(_SC_OPEN_MAX));
    for (int fd = kLine + 1; fd < limit; ++fd) close(fd);
  }
  return kLine;
}

absl::Status HoldForLife(pthread_mutex_t* life) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(life, &attributes);
  pthread_mutexattr_destroy(&attributes);
  errno = pthread_mutex_lock(life);
  return errno == 0 ? absl::OkStatus() : Errno("locking");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Sentinel>> Sentinel::Start() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return Errno("socketpair");
  void* memory =
      mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Errno("mmap");
  auto sentinel = absl::WrapUnique(new Sentinel());
  sentinel->page_ = static_cast<Page*>(memory);
  sentinel->owner_ = pthread_self();
  if (absl::Status held = HoldForLife(&sentinel->page_->life); !held.ok()) return held;
  {
    MutexLock lock(sentinel->mutex_);
    sentinel->line_ = ends[0];
  }
  sentinel->process_ = fork();
  if (sentinel->process_ == 0) {
    const int line = LeaveTheWorker(ends[1]);
    Watch(&sentinel->page_->life, line).Run();
  }
  close(ends[1]);
  if (sentinel->process_ < 0) return Errno("fork");
  // A sentinel that hangs may not hang its worker.
  const timeval patience{kPatienceSeconds, 0};
  setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  Word word{};
  if (recv(ends[0], &word, sizeof(word), 0) != sizeof(word) || word.what != kReady) {
    return Errno("waiting for it to start");
  }
  return sentinel;
}

Sentinel::~Sentinel() {
  Tell(kQuit, -1);
  {
    MutexLock lock(mutex_);
    if (line_ >= 0) close(line_);
    line_ = -1;
  }
  if (process_ > 0) waitpid(process_, nullptr, 0);
  // Memory with a mutex that some thread still holds must stay: the thread's list leads there.
  if (page_ != nullptr && pthread_equal(owner_, pthread_self()) != 0) {
    pthread_mutex_unlock(&page_->life);
    munmap(page_, sizeof(Page));
  }
}

void Sentinel::Lend(int fd) { Tell(kLend, fd); }
void Sentinel::Return(int fd) { Tell(kReturn, fd); }

void Sentinel::Tell(char what, int fd) {
  Word word{};
  word.what = what;
  word.fd = fd;
  Ancillary ancillary{};
  iovec part{&word, sizeof(word)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (what == kLend) {
    message.msg_control = ancillary.bytes;
    message.msg_controllen = sizeof(ancillary.bytes);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  MutexLock lock(mutex_);
  if (line_ < 0 || sendmsg(line_, &message, MSG_NOSIGNAL) == sizeof(word)) return;
  LogWarning("the sentinel is gone (", std::strerror(errno),
             "): peers will learn of this process's death later");
  close(line_);
  line_ = -1;
}

}  // namespace liquid
