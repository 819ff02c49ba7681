// Tells this process's peers of its death at once.
//
// The kernel closes the sockets of a killed process only after it has freed its memory: about 100
// ms later for each GB. A sentinel is a tiny process, forked before any large allocation, that
// waits for a robust mutex held by its worker (EOWNERDEAD within milliseconds, whatever the size),
// and then shuts down the connections that it was lent.
#ifndef LIQUID_PARALLEL_TCP_SENTINEL_H_
#define LIQUID_PARALLEL_TCP_SENTINEL_H_

#include <pthread.h>
#include <sys/types.h>

#include <memory>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace liquid {

// Thread-safe.
class Sentinel {
 public:
  // REQUIRES: the process has one thread, and has not called MPI_Init. The calling thread must live
  // as long as the process. The sentinel leaves the session of its worker and keeps none of its
  // files open; it ends with its worker, however that ends.
  static absl::StatusOr<std::unique_ptr<Sentinel>> Start();
  ~Sentinel();  // ends it; the connections stay as they are

  // Lends a copy of the socket `fd`, until Return. Whoever closes `fd` for good must call
  // shutdown(2) first, since the copy keeps the connection open.
  void Lend(int fd);
  void Return(int fd);

  pid_t process() const { return process_; }

 private:
  // Memory that worker and sentinel share.
  struct Page {
    pthread_mutex_t life;  // robust; held by the worker as long as it lives
  };
  Sentinel() = default;
  void Tell(char what, int fd);

  Page* page_ = nullptr;
  pthread_t owner_ = {};  // the thread that holds page_->life
  pid_t process_ = -1;
  Mutex mutex_;
  int line_ ABSL_GUARDED_BY(mutex_) = -1;  // to the sentinel; -1 once it is gone
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_SENTINEL_H_
