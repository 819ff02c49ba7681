// The connections of one process in a generation, and what moves bytes over them.
#ifndef LIQUID_PARALLEL_TCP_MESH_H_
#define LIQUID_PARALLEL_TCP_MESH_H_

#include <poll.h>

#include <atomic>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "parallel/tcp/frame.h"
#include "parallel/tcp/peer_memory.h"
#include "parallel/tcp/sentinel.h"
#include "parallel/tcp/socket.h"
#include "parallel/tcp/traffic.h"

namespace liquid {

// Everything happens inside of calls: there is no thread behind it. The first failure is latched,
// and ends all connections at once, so that every peer fails as well.
// Not thread-safe, but for Fail() and status().
class Mesh {
 public:
  // One connected socket. Peers on the rail are numbered by their gang; a line to a process of the
  // own gang carries nothing but its end.
  struct Connection {
    int gang = 0;
    int rank = 0;
    bool is_line = false;
    Socket socket;
  };
  struct Posted {
    int from;
    std::string message;
  };

  // `size`: of the rail. `sentinel` may be null.
  Mesh(int size, absl::Duration stall_timeout, Sentinel* sentinel);
  // Says goodbye, unless the group has failed: a peer that needs nothing more of this process does
  // not fail.
  ~Mesh();

  // REQUIRES: called once, before anything is moved.
  void Adopt(std::vector<Connection> connections);

  // Moves all of `traffic`, and latches what goes wrong.
  absl::Status Run(Traffic& traffic);
  // Takes in what has come, without waiting, and latches the failure if a connection has broken. A
  // peer that has left in order is none.
  absl::Status Look();
  // To everybody on the rail; goes out now or in later calls, before their frames.
  void Post(const std::string& message);
  // As TcpGroup::NextPosted.
  absl::StatusOr<std::optional<Posted>> NextPosted(absl::Duration timeout, int wake_fd);

  // Thread-safe. Wakes a call that waits.
  void Fail(const absl::Status& why);
  absl::Status status();
  int wake_fd() const { return wake_fd_; }  // readable from the first failure on

 private:
  struct Peer {
    Connection connection;
    std::deque<std::string> posts;  // whole frames
    size_t post_done = 0;           // bytes of the first one that are out
    // The frame on its way out.
    bool is_sending = false;
    FrameHeader out_header;
    const std::byte* out_payload = nullptr;
    size_t out_done = 0;  // bytes, of the header and the payload
    uint64_t out_call = 0;
    bool is_reader = false;    // of this process's memory
    uint64_t num_offered = 0;  // frames of the call that it is to read, and has not said to have
    // The frame on its way in.
    FrameHeader in_header;
    size_t in_done = 0;
    std::byte* in_payload = nullptr;  // null while the header is not there, or has no place yet
    std::string in_message;
    uint64_t in_call = 0;
    std::optional<PeerMemory> memory;  // that this process can read
    uint64_t num_read = 0;             // frames of the call
    bool owes_word = false;            // the word that it has read them is not out

    bool may_read = true;  // until the kernel says that it would block
    bool may_write = true;
    bool has_left = false;  // in order
    bool is_over = false;   // nothing more to be read, ever
    bool is_hung = false;   // seen by poll while data of a later call waits in front
    bool IsPaused() const { return in_done >= sizeof(FrameHeader) && in_payload == nullptr; }
    std::string Name() const;
  };

  // One pass over all peers; adds to `num_moved` the bytes that have moved.
  absl::Status Move(Traffic* traffic, int64_t* num_moved);
  absl::Status Read(Peer& peer, Traffic* traffic, int64_t* num_moved);
  absl::Status OpenFrame(Peer& peer, Traffic* traffic);
  absl::Status OpenDataFrame(Peer& peer, Traffic* traffic);
  absl::Status TakeWord(Peer& peer);
  absl::Status ReadPayload(Peer& peer, Traffic* traffic, std::byte* place);
  void CloseFrame(Peer& peer, Traffic* traffic);
  absl::Status Write(Peer& peer, Traffic* traffic, int64_t* num_moved);
  void Queue(Peer& peer, std::string frame);        // behind what is queued; out at once, if it can
  bool WritePosts(Peer& peer, int64_t* num_moved);  // false: the connection takes no more now
  absl::Status Hangup(Peer& peer, const Traffic* traffic, const std::string& how);
  bool Needs(const Peer& peer, const Traffic* traffic) const;
  bool IsDone(const Traffic& traffic) const;
  std::string Awaited(const Traffic& traffic) const;  // who is waited for
  // Sleeps until something may move. False after `timeout`.
  bool Sleep(const Traffic* traffic, absl::Duration timeout, int wake_fd);

  const int size_;
  const uint64_t number_;  // that others read to see whether they can
  const absl::Duration stall_timeout_;
  Sentinel* const sentinel_;
  std::vector<Peer> peers_;
  std::vector<pollfd> polled_;  // wake_fd_, the caller's, and one for each peer
  std::deque<Posted> inbox_;
  NoTraffic nothing_;
  int wake_fd_;

  std::atomic<bool> has_failed_ = false;
  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> open_fds_ ABSL_GUARDED_BY(mutex_);  // that Fail() ends
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_MESH_H_
