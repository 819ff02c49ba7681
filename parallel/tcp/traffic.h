// What one call sends and expects, peer by peer. The mesh moves the bytes; a Traffic says which.
#ifndef LIQUID_PARALLEL_TCP_TRAFFIC_H_
#define LIQUID_PARALLEL_TCP_TRAFFIC_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "parallel/tcp/frame.h"

namespace liquid {

// A peer is a rank of the group. Objects are made once and started again for each call, so that a
// call allocates nothing.
class Traffic {
 public:
  virtual ~Traffic() = default;

  // Whether this call counts for the two directions of the connection to `peer`.
  virtual bool IsOutgoing(int /*peer*/) const { return true; }
  virtual bool IsIncoming(int /*peer*/) const { return true; }

  // The next frame to `peer` (kind, offset, length > 0) and its payload, which must stay as it is
  // until the call ends or the peer answers it. False: none is ready now.
  virtual bool NextFrame(int peer, FrameHeader* header, const std::byte** payload) = 0;
  // Whether NextFrame(peer) will ever be true again.
  virtual bool HasMoreFor(int peer) const = 0;

  // Where the payload of `header`, the next frame of this call from `peer`, belongs. Null: there
  // is no room now, ask again. InvalidArgument, naming both, if another frame was expected.
  virtual absl::StatusOr<std::byte*> PlaceFor(int peer, const FrameHeader& header) = 0;
  virtual void Arrived(int peer, const FrameHeader& header) = 0;  // that frame is there
  virtual bool Awaits(int peer) const = 0;  // whether more frames of this call must come
};

// Nothing to anybody, and from nobody.
class NoTraffic final : public Traffic {
 public:
  bool IsOutgoing(int /*peer*/) const override { return false; }
  bool IsIncoming(int /*peer*/) const override { return false; }
  bool NextFrame(int /*peer*/, FrameHeader* /*header*/, const std::byte** /*payload*/) override {
    return false;
  }
  bool HasMoreFor(int /*peer*/) const override { return false; }
  absl::StatusOr<std::byte*> PlaceFor(int /*peer*/, const FrameHeader& /*header*/) override {
    return nullptr;
  }
  void Arrived(int /*peer*/, const FrameHeader& /*header*/) override {}
  bool Awaits(int /*peer*/) const override { return false; }
};

// At most one buffer to each peer, and one from each.
class BufferTraffic final : public Traffic {
 public:
  explicit BufferTraffic(int size) : peers_(size) {}

  void Start(FrameKind kind);  // nothing to or from anybody
  // For calls between two ranks: it counts for one direction of one connection only.
  void StartSend(int to);
  void StartReceive(int from);
  void Send(int peer, const void* data, int64_t num_bytes);
  void Receive(int peer, void* data, int64_t num_bytes);

  bool IsOutgoing(int peer) const override;
  bool IsIncoming(int peer) const override;
  bool NextFrame(int peer, FrameHeader* header, const std::byte** payload) override;
  bool HasMoreFor(int peer) const override { return peers_[peer].out_bytes > 0; }
  absl::StatusOr<std::byte*> PlaceFor(int peer, const FrameHeader& header) override;
  void Arrived(int peer, const FrameHeader& header) override;
  bool Awaits(int peer) const override { return peers_[peer].in_bytes > 0; }

 private:
  struct Buffers {
    const std::byte* out = nullptr;
    int64_t out_bytes = 0;  // still to be sent
    std::byte* in = nullptr;
    int64_t in_bytes = 0;  // still to come
  };
  static constexpr int kAll = -1;
  static constexpr int kNone = -2;

  FrameKind kind_ = FrameKind::kSlice;
  int to_ = kAll;
  int from_ = kAll;
  std::vector<Buffers> peers_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_TRAFFIC_H_
