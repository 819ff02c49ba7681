// How two processes of one generation recognise each other.
//
//   dialer    Hello              ->
//             <- 'W' (welcome)      acceptor
//   dialer    'C' (confirm)      ->
//
// The connection counts for the dialer from the welcome on, for the acceptor from the confirmation
// on. Whoever says anything else is closed; a dialer that is closed tries again.
#ifndef LIQUID_PARALLEL_TCP_HELLO_H_
#define LIQUID_PARALLEL_TCP_HELLO_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace liquid {

inline constexpr char kWelcome = 'W';
inline constexpr char kConfirm = 'C';

// On the wire as it is in memory: little-endian machines only.
struct Hello {
  static constexpr uint64_t kMagic = 0x414444495551494c;  // "LIQUIDDA" on the wire
  static constexpr uint32_t kVersion = 2;                 // of everything on a data connection

  uint64_t magic = kMagic;
  uint32_t version = kVersion;
  uint32_t zero = 0;
  int64_t generation = 0;
  uint64_t token = 0;
  int32_t from_gang = 0;
  int32_t from_rank = 0;
  int32_t to_gang = 0;
  int32_t to_rank = 0;
  char job[64] = {};  // padded with zeros; a hash of longer digests
};
static_assert(sizeof(Hello) == 112);

// Fills `hello.job`.
void SetJob(const std::string& digest, Hello* hello);

// Whether `said` is what `own`, the hello that this process would say, lets in: all equal but for
// `from`, addressed to this process. The error names both values, but never a token.
absl::Status CheckHello(const Hello& said, const Hello& own);

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_HELLO_H_
