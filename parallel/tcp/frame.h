// Frames: everything that travels on a connection once it stands.
#ifndef LIQUID_PARALLEL_TCP_FRAME_H_
#define LIQUID_PARALLEL_TCP_FRAME_H_

#include <cstdint>
#include <string>

namespace liquid {

enum class FrameKind : uint32_t {
  kPosted = 1,  // a message that comes when it comes
  kBye,         // the sender has left in order: no frame follows
  kOffer,       // here is a number of mine (`offset`) at this address: can you read it?
  kReadable,    // yes
  kHasRead,     // of `call`, as many frames (`offset`) as the receiver gave an address of
  // Of a call; both ends count the calls of their connection.
  kAddend,     // a piece of what is to be summed by the receiver
  kSum,        // a piece of what the sender has summed
  kSlice,      // all-gather
  kBroadcast,  //
  kMessage,    // of BroadcastMessage or AllGatherMessages
  kSent,       // Send
};

// Before `length` bytes of payload. On the wire as it is in memory: little-endian machines only.
struct FrameHeader {
  static constexpr uint32_t kMark = 0x4c514652;

  uint32_t mark = kMark;
  FrameKind kind = FrameKind::kBye;
  uint64_t call = 0;    // from 1 on; 0 for what is of no call
  uint64_t offset = 0;  // of the payload, within what the call sends this way
  uint64_t length = 0;
  uint64_t address = 0;  // of the payload in the sender's memory, to be read there; 0: it follows
};
static_assert(sizeof(FrameHeader) == 40);

// "a sum, call 17, 4096 bytes at 0".
std::string ToString(const FrameHeader& header);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_FRAME_H_
