// The processes of one generation's gangs, connected over TCP and Unix sockets: for exactly as long
// as that generation lives.
#ifndef LIQUID_PARALLEL_TCP_TCP_GROUP_H_
#define LIQUID_PARALLEL_TCP_TCP_GROUP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "parallel/communicator.h"
#include "parallel/tcp/data_port.h"
#include "parallel/tcp/mesh.h"
#include "parallel/tcp/sum_traffic.h"
#include "parallel/tcp/traffic.h"

namespace liquid {

class Mesh;
class Sentinel;

// A communicator over a rail: this process and those of the same rank in all other gangs; its
// rank() is the gang's place in the member list. Besides the collectives it carries messages and
// whole buffers from one peer to another.
//
// A peer's death, its closing of the group, Abort() here or anywhere in the own gang fail every
// call at once, on every rank of every gang: each process also holds a line to the leader (rank 0)
// of its own gang, and whoever fails closes all that it holds. So nobody waits for a rail that is
// whole while another one is broken.
class TcpGroup final : public Communicator {
 public:
  struct Options {
    std::string job;         // digest: strangers' words differ in it, or in one of the next two
    int64_t generation = 0;  //
    uint64_t token = 0;      // of the generation, from the coordinator
    std::vector<std::vector<std::string>> addresses;  // [gang][rank], DataPort::address()
    int gang = 0;                                     // this process's place in it
    int rank_in_gang = 0;
    absl::Duration stall_timeout;  // no byte moves for so long while a call waits: failure
  };

  // No connection yet. `port` must outlive this. `sentinel` (may be null) is lent every connection,
  // so that peers learn of this process's death at once.
  TcpGroup(DataPort& port, Options options, Sentinel* sentinel);
  ~TcpGroup() override;  // closes all connections: peers that still wait for us fail

  // Connects to all peers; OK once each of them has let this process in. The processes may come in
  // any order. Unavailable, DeadlineExceeded (naming who is missing), Aborted. A process
  // may destroy its group only once all ranks of its gang have returned from here: else they fail.
  absl::Status Form(absl::Time deadline);
  // After Form's DeadlineExceeded: the gangs (places) that this process is not connected to.
  const std::vector<int>& unreached() const { return unreached_; }

  // --- Communicator.
  int rank() const override { return options_.gang; }
  int size() const override { return size_; }
  void AllReduceSum(TensorView inout) override;
  void Broadcast(TensorView inout, int root) override;
  absl::Status Wait(absl::Time deadline) override;  // never waits: calls run when they are made
  void Abort(absl::Status why) override;            // also during Form
  absl::StatusOr<std::string> BroadcastMessage(std::string message, int root) override;
  absl::StatusOr<std::vector<std::string>> AllGatherMessages(std::string message) override;

  // For whoever waits for these peers by other means: the latched failure, or why one of them is
  // gone, as far as is known without waiting.
  absl::Status Look() { return mesh_.Look(); }

  // --- The halves of an all-reduce.
  // Slice rank() (tcp/slice.h) of `out` becomes that slice of the sum of every rank's `in`; the
  // rest of `out` is unspecified afterwards. Same shapes; `out` may not overlap `in`, which is only
  // read.
  void ReduceScatterSum(ConstTensorView in, TensorView out);
  // Slice r of `inout` is rank r's on every rank.
  void AllGather(TensorView inout);

  // --- One to one, on the rail. Blocking; failures are latched as the collectives'.
  void Send(const void* data, int64_t num_bytes, int to);
  void Receive(void* data, int64_t num_bytes, int from);

  // --- Messages that come when they come.
  // To every other rank of the rail; does not wait for it to be received.
  void Post(std::string message);
  using Posted = Mesh::Posted;  // int from; std::string message;
  // The next message posted by a peer, in the order of each peer's calls: one that was posted
  // before a collective is received before that collective's data. Nothing after `timeout`, or once
  // `wake_fd` (an eventfd of the caller's, or -1) is readable; it is not read here. The latched
  // failure, if there is one.
  absl::StatusOr<std::optional<Posted>> NextPosted(absl::Duration timeout, int wake_fd);

 private:
  void FanOut(void* data, int64_t num_bytes, int root);
  absl::Status CheckLength(int64_t length, int from);

  DataPort& port_;
  const Options options_;
  const int size_;
  std::vector<int> unreached_;
  Mesh mesh_;
  SumTraffic sums_;
  BufferTraffic buffers_;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_TCP_TCP_GROUP_H_
