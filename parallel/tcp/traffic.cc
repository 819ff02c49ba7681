#include "parallel/tcp/traffic.h"

#include "absl/strings/str_cat.h"

namespace liquid {

void BufferTraffic::Start(FrameKind kind) {
  kind_ = kind;
  to_ = from_ = kAll;
  for (Buffers& buffers : peers_) buffers = Buffers{};
}

void BufferTraffic::StartSend(int to) {
  Start(FrameKind::kSent);
  to_ = to;
  from_ = kNone;
}

void BufferTraffic::StartReceive(int from) {
  Start(FrameKind::kSent);
  to_ = kNone;
  from_ = from;
}

void BufferTraffic::Send(int peer, const void* data, int64_t num_bytes) {
  peers_[peer].out = static_cast<const std::byte*>(data);
  peers_[peer].out_bytes = num_bytes;
}

void BufferTraffic::Receive(int peer, void* data, int64_t num_bytes) {
  peers_[peer].in = static_cast<std::byte*>(data);
  peers_[peer].in_bytes = num_bytes;
}

bool BufferTraffic::IsOutgoing(int peer) const { return to_ == kAll || to_ == peer; }
bool BufferTraffic::IsIncoming(int peer) const { return from_ == kAll || from_ == peer; }

bool BufferTraffic::NextFrame(int peer, FrameHeader* header, const std::byte** payload) {
  Buffers& buffers = peers_[peer];
  if (buffers.out_bytes == 0) return false;
  header->kind = kind_;
  header->offset = 0;
  header->length = static_cast<uint64_t>(buffers.out_bytes);
  *payload = buffers.out;
  buffers.out_bytes = 0;
  return true;
}

absl::StatusOr<std::byte*> BufferTraffic::PlaceFor(int peer, const FrameHeader& header) {
  const Buffers& buffers = peers_[peer];
  FrameHeader expected = header;
  expected.kind = kind_;
  expected.offset = 0;
  expected.length = static_cast<uint64_t>(buffers.in_bytes);
  if (header.kind == kind_ && header.offset == 0 && header.length == expected.length &&
      buffers.in_bytes > 0) {
    return buffers.in;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("it sent ", ToString(header), " instead of ", ToString(expected)));
}

void BufferTraffic::Arrived(int peer, const FrameHeader& /*header*/) { peers_[peer].in_bytes = 0; }

}  // namespace liquid
