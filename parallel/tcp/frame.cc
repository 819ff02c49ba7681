#include "parallel/tcp/frame.h"

#include "absl/strings/str_cat.h"

namespace liquid {
namespace {

const char* KindName(FrameKind kind) {
  switch (kind) {
    case FrameKind::kPosted:
      return "a posted message";
    case FrameKind::kBye:
      return "a bye";
    case FrameKind::kOffer:
      return "an offer of memory";
    case FrameKind::kReadable:
      return "an accepted offer";
    case FrameKind::kHasRead:
      return "word of what was read";
    case FrameKind::kAddend:
      return "an addend";
    case FrameKind::kSum:
      return "a sum";
    case FrameKind::kSlice:
      return "a slice of an all-gather";
    case FrameKind::kBroadcast:
      return "a broadcast";
    case FrameKind::kMessage:
      return "a message of a call";
    case FrameKind::kSent:
      return "a buffer";
  }
  return "a frame of unknown kind";
}

}  // namespace

std::string ToString(const FrameHeader& header) {
  return absl::StrCat(KindName(header.kind), ", call ", header.call, ", ", header.length,
                      " bytes at ", header.offset);
}

}  // namespace liquid
