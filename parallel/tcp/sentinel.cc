#include "parallel/tcp/sentinel.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"

namespace liquid {
namespace {

// In memory that worker and sentinel share.
struct Shared {
  pthread_mutex_t alive;  // robust; held by the worker
};

struct Request {
  bool lends;  // with a descriptor; else: returns
  int key;     // the descriptor's number in the worker; kEnd: the sentinel is wanted no more
};
constexpr int kEnd = -1;

// --- In the sentinel. Plain memory only: it was forked off a program in whatever state.

constexpr int kMaxLent = 4096;
struct Lent {
  int key;
  int fd;
};
Lent lent[kMaxLent];
int num_lent = 0;
pthread_mutex_t lent_mutex = PTHREAD_MUTEX_INITIALIZER;

void* WatchWorker(void* shared) {
  auto* alive = &static_cast<Shared*>(shared)->alive;
  if (pthread_mutex_lock(alive) == EOWNERDEAD) {
    pthread_mutex_lock(&lent_mutex);
    for (int i = 0; i < num_lent; ++i) shutdown(lent[i].fd, SHUT_RDWR);
  }
  _exit(0);
}

void CloseAllBut(int keep) {
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  const auto keep_number = static_cast<unsigned>(keep);
  if (keep_number > 3) close_range(3, keep_number - 1, 0);
  close_range(keep_number + 1, ~0u, 0);
}

// Takes `fd` (-1: none came) as the request says. False if there is no room.
bool Serve(const Request& request, int fd) {
  if (request.lends) {
    if (num_lent == kMaxLent) return false;
    lent[num_lent++] = {request.key, fd};
    return true;
  }
  for (int i = 0; i < num_lent; ++i) {
    if (lent[i].key != request.key) continue;
    close(lent[i].fd);
    lent[i] = lent[--num_lent];
    break;
  }
  return true;
}

[[noreturn]] void RunSentinel(Shared* shared, int control) {
  setsid();
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) ::signal(signal, SIG_IGN);
  CloseAllBut(control);
  pthread_t watcher;
  if (pthread_create(&watcher, nullptr, WatchWorker, shared) != 0) _exit(1);
  while (true) {
    Request request = {};
    iovec content = {&request, sizeof(request)};
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &content;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof(space);
    const ssize_t got = recvmsg(control, &message, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof(request)) {
      // The worker is gone or wants no more; if it died, the watcher is about to see it.
      poll(nullptr, 0, 100);
      _exit(0);
    }
    if (request.key == kEnd) _exit(0);
    int fd = -1;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
      std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    }
    pthread_mutex_lock(&lent_mutex);
    const bool ok = Serve(request, fd);
    pthread_mutex_unlock(&lent_mutex);
    if (!ok) close(fd);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Sentinel>> Sentinel::Start() {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::InternalError("no shared memory for a sentinel");
  auto* shared = static_cast<Shared*>(memory);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&shared->alive, &attributes);
  pthread_mutexattr_destroy(&attributes);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus(errno, "make", "a sentinel's socket");
  }
  pthread_mutex_lock(&shared->alive);
  const pid_t pid = fork();
  if (pid == 0) RunSentinel(shared, ends[1]);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return ErrnoStatus(errno, "fork", "a sentinel");
  }
  std::unique_ptr<Sentinel> sentinel(new Sentinel);
  sentinel->control_.Reset(ends[0]);
  sentinel->pid_ = pid;
  return sentinel;
}

Sentinel::~Sentinel() {
  Ask(kEnd, /*lends=*/false);
  waitpid(pid_, nullptr, 0);
}

void Sentinel::Lend(int fd) { Ask(fd, /*lends=*/true); }

void Sentinel::Return(int fd) { Ask(fd, /*lends=*/false); }

void Sentinel::Ask(int fd, bool lends) {
  Request request = {lends, fd};
  iovec content = {&request, sizeof(request)};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  if (lends) {
    message.msg_control = space;
    message.msg_controllen = sizeof(space);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  // If the sentinel is gone, deaths are noticed later: by the kernel's closing of sockets.
  static_cast<void>(!sendmsg(control_.get(), &message, MSG_NOSIGNAL));
}

}  // namespace liquid
