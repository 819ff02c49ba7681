#include <algorithm>
#include <cstring>
#include <string>

#include "tests/emulated_cuda/nccl_arithmetic.h"
#include "tests/emulated_cuda/nccl_operations.h"

namespace liquid::emulated {

Task RunSend(Operation operation) {
  Communicator& communicator = *operation.communicator;
  Mailbox* const box = &communicator.mailbox(communicator.rank(), operation.peer);
  const size_t num_bytes = operation.count * BytesOf(operation.type);
  const char* const in = static_cast<const char*>(operation.in);
  Until is_taken{[box] { return box->num_posted.load() == box->num_taken.load(); }};
  co_await is_taken;  // the message before this one
  box->message_bytes = num_bytes;
  box->num_posted.fetch_add(1);
  for (size_t sent = 0; sent < num_bytes;) {
    Until has_room{
        [box] { return box->num_written.load() - box->num_read.load() < kMailboxBytes; }};
    co_await has_room;
    const uint64_t written = box->num_written;
    const size_t at = written % kMailboxBytes;
    const size_t room = kMailboxBytes - (written - box->num_read.load());
    const size_t bytes = std::min({num_bytes - sent, kMailboxBytes - at, room});
    memcpy(box->data + at, in + sent, bytes);
    sent += bytes;
    box->num_written.store(written + bytes);
  }
  Until is_received{[box] { return box->num_posted.load() == box->num_taken.load(); }};
  co_await is_received;
}

Task RunReceive(Operation operation) {
  Communicator& communicator = *operation.communicator;
  Mailbox* const box = &communicator.mailbox(operation.peer, communicator.rank());
  const size_t num_bytes = operation.count * BytesOf(operation.type);
  char* const out = static_cast<char*>(operation.out);
  Until is_posted{[box] { return box->num_posted.load() != box->num_taken.load(); }};
  co_await is_posted;
  if (box->message_bytes != num_bytes) {
    communicator.Fail(ncclInvalidUsage, "Recv of " + std::to_string(num_bytes) +
                                            " bytes from rank " + std::to_string(operation.peer) +
                                            " meets a Send of " +
                                            std::to_string(box->message_bytes.load()));
    Until forever{[] { return false; }};
    co_await forever;
  }
  for (size_t received = 0; received < num_bytes;) {
    Until has_bytes{[box] { return box->num_written.load() != box->num_read.load(); }};
    co_await has_bytes;
    const uint64_t read = box->num_read;
    const size_t at = read % kMailboxBytes;
    const size_t available = box->num_written.load() - read;
    const size_t bytes = std::min({num_bytes - received, kMailboxBytes - at, available});
    memcpy(out + received, box->data + at, bytes);
    received += bytes;
    box->num_read.store(read + bytes);
  }
  box->num_taken.fetch_add(1);
}

}  // namespace liquid::emulated
