// This rank's place in its gang: all ranks obey the same orders at the same time.
#ifndef LIQUID_WORKER_GANG_MEMBER_H_
#define LIQUID_WORKER_GANG_MEMBER_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parallel/communicator.h"
#include "proto/gang.pb.h"
#include "worker/coordinator_client.h"

namespace liquid {

// Of the checkpoint that is being written.
struct SaveNews {
  int64_t step = -1;                 // -1: none is
  std::optional<absl::Status> mine;  // what this rank's part has come to; nothing while at work
};

// Calls that say "collective" are made by every rank at the same point of its program.
class GangMember {
 public:
  // `client` is the leader's line to the coordinator, null on other ranks. Both must outlive this.
  // `leave_by`: when it is time to go even if nobody asks.
  GangMember(Communicator& world, CoordinatorClient* client,
             absl::Time leave_by = absl::InfiniteFuture())
      : world_(world), client_(client), leave_by_(leave_by) {}

  bool is_leader() const { return world_.rank() == 0; }
  Communicator& world() { return world_; }

  struct Tick {
    std::optional<Order> order;   // the leader's next order, if it has come
    bool stop_requested = false;  // some rank was asked to go (signals.h, or the time limit)
    int64_t gang = 0;             // this gang's number
    ExchangeNews news = NOTHING_NEW;
    bool is_over = false;  // the leader's `wait_until` has passed
    // Once every rank has something: OK, or the error of the lowest rank that has one.
    std::optional<absl::Status> saved;
    bool save_is_committed = false;  // the leader knows of the commit of SaveNews::step
  };
  // Collective. Waits for an order for at most `timeout`; or, on the leader, for what `listen`
  // waits for, if it is given: then only a look is taken at the orders. An error is that of the
  // line to the coordinator, lost for good, or of the gang itself.
  // `wait_until` counts on the leader: one clock decides for all ranks.
  absl::StatusOr<Tick> NextTick(absl::Duration timeout,
                                const std::function<ExchangeNews()>& listen = nullptr,
                                absl::Time wait_until = absl::InfiniteFuture(),
                                const SaveNews& save = {});

  // The leader's message to the coordinator; nothing on other ranks.
  void Report(const GangMessage& message);

  CoordinatorClient* client() { return client_; }  // null but on the leader

 private:
  Communicator& world_;
  CoordinatorClient* const client_;
  const absl::Time leave_by_;
};

// Collective: OK if `status` is OK on every rank; else, on every rank, the error of the lowest rank
// that has one, with that rank named.
absl::Status AgreeOn(Communicator& world, const absl::Status& status);

// Collective: rank 0's value, or its error, on every rank. Other ranks' argument is ignored.
absl::StatusOr<std::string> ShareFromLeader(Communicator& world, absl::StatusOr<std::string> value);

}  // namespace liquid

#endif  // LIQUID_WORKER_GANG_MEMBER_H_
