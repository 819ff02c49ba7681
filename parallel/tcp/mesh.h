// The connections of one process in a generation, and the frames that go over them.
//
// Everything is driven by the one thread that calls; only Abort may come from another. Every byte
// belongs to a frame of a kind and a number, so that two processes which do not do the same thing
// find out, instead of taking one tensor for another.
#ifndef LIQUID_PARALLEL_TCP_MESH_H_
#define LIQUID_PARALLEL_TCP_MESH_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "parallel/tcp/hello.h"
#include "parallel/tcp/sentinel.h"

namespace liquid {

enum class FrameKind : uint32_t { kPosted = 1, kReduce, kGather, kBroadcast, kMessage, kDirect };

class Mesh {
 public:
  // `sentinel` may be null. A call that waits while no byte moves for `stall_timeout` fails.
  Mesh(Sentinel* sentinel, absl::Duration stall_timeout);
  ~Mesh();

  // The first `num_rail` of `peers` carry frames, in this order; the others are lines: that they
  // hang up is all that they can say.
  absl::Status Form(const DataPort& port, const Circle& circle, const PeerName& self,
                    const std::vector<Peer>& peers, size_t num_rail, absl::Time deadline);

  // Fails everything from now on. The first failure counts. Thread-safe.
  void Abort(const absl::Status& why);
  absl::Status status();

  // --- What follows enqueues; `peer` is an index into the rail. Memory must stay until Run
  // returns.

  // A frame of `num_bytes`; its content follows by SendBytes.
  void SendHeader(size_t peer, FrameKind kind, uint32_t number, int64_t num_bytes);
  void SendBytes(size_t peer, const void* data, int64_t num_bytes);
  // A whole frame, which the mesh keeps.
  void SendFrame(size_t peer, FrameKind kind, uint32_t number, std::string content);
  // The next frame but for posted ones must be this; its content is asked for by ReceiveBytes, a
  // part at a time. num_bytes < 0: any size up to `kMaxMessage`, which FrameSize tells.
  void ExpectHeader(size_t peer, FrameKind kind, uint32_t number, int64_t num_bytes);
  void ReceiveBytes(size_t peer, void* data, int64_t num_bytes);
  int64_t FrameSize(size_t peer) const { return connections_[peer].frame_bytes; }
  static constexpr int64_t kMaxMessage = int64_t{1} << 26;

  // --- And this carries out. False after the first failure, which also ends all connections.

  enum class Until { kReceived, kAllDone };
  bool Run(Until until);
  // Waits for posted frames until `deadline`, or until `wake_fd` (or -1) is readable.
  bool RunUntilPosted(absl::Time deadline, int wake_fd);
  std::deque<std::pair<size_t, std::string>>& posted() { return posted_; }  // peer, content

 private:
  struct Header {
    FrameKind kind;
    uint32_t number;
    int64_t num_bytes;
  };
  struct Outgoing {
    std::string owned;  // if not empty, what is sent
    const char* data;
    int64_t num_bytes;
  };
  struct Incoming {
    char* data;
    int64_t num_bytes;
  };
  struct Connection {
    PeerName name;
    Descriptor socket;
    bool has_ended = false;  // the peer hung up; what it had sent may still be read
    std::deque<Outgoing> outgoing;
    std::optional<Header> expected;  // header that is waited for
    std::deque<Incoming> incoming;   // parts of the frame at hand that are waited for
    Header header = {};
    size_t header_read = 0;      // bytes of it
    bool header_is_new = false;  // read, and not yet met by ExpectHeader
    int64_t frame_bytes = 0;     // of the frame at hand
    std::string post;            // a posted frame, as far as it is here
    bool in_post = false;
  };

  bool IsWanting(const Connection& connection) const {
    return connection.expected.has_value() || !connection.incoming.empty();
  }
  bool Step(absl::Time deadline, int wake_fd, bool wants_posts, bool* moved);
  bool WriteTo(Connection& connection, bool* moved);
  bool ReadFrom(Connection& connection, bool wants_posts, bool* moved);
  bool TakeHeader(Connection& connection);
  bool MeetExpected(Connection& connection);
  bool Wait(absl::Time deadline, int wake_fd, bool wants_posts);
  bool Fail(const absl::Status& why);
  bool FailPeer(const Connection& connection, const char* what);
  void CloseAll();

  Sentinel* const sentinel_;
  const absl::Duration stall_timeout_;
  std::vector<Connection> connections_;
  size_t num_rail_ = 0;
  std::deque<std::pair<size_t, std::string>> posted_;
  Descriptor abort_event_;
  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_MESH_H_
