// The first words of a connection between gangs, and a frame where a buffer of 64 bytes is
// expected.
#include <array>
#include <cstring>

#include "base/check.h"
#include "parallel/tcp/frame.h"
#include "parallel/tcp/hello.h"
#include "parallel/tcp/traffic.h"
#include "tests/fuzz/fuzz_target.h"

namespace liquid {
namespace {

void TakeHello(const uint8_t* data) {
  Hello own;
  own.generation = 3;
  own.token = 4;
  SetJob("job", &own);
  Hello said;
  std::memcpy(&said, data, sizeof(said));
  if (!CheckHello(said, own).ok()) return;
  LIQUID_CHECK(said.token == own.token && said.generation == own.generation);
}

void TakeFrame(const uint8_t* data) {
  FrameHeader header;
  std::memcpy(&header, data, sizeof(header));
  std::array<std::byte, 64> buffer;
  BufferTraffic traffic(2);
  traffic.Start(FrameKind::kSlice);
  traffic.Receive(1, buffer.data(), buffer.size());
  const auto place = traffic.PlaceFor(1, header);
  if (!place.ok()) return;
  LIQUID_CHECK(*place == buffer.data() && header.offset == 0 && header.length == buffer.size());
}

}  // namespace
}  // namespace liquid

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= sizeof(liquid::Hello)) liquid::TakeHello(data);
  if (size >= sizeof(liquid::FrameHeader)) liquid::TakeFrame(data);
  return 0;
}
