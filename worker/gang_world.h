// This rank's place among the gangs of a generation: who they are, and the rail to them.
#ifndef LIQUID_WORKER_GANG_WORLD_H_
#define LIQUID_WORKER_GANG_WORLD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "parallel/communicator.h"
#include "parallel/rail.h"
#include "parallel/tcp/data_port.h"
#include "parallel/tcp/sentinel.h"
#include "parallel/tcp/tcp_group.h"
#include "proto/gang.pb.h"
#include "worker/slot_exchange.h"

namespace liquid {

class GangWorld {
 public:
  // In heartbeat timeouts. A member that does not come is missed by the coordinator after one,
  // which interrupts all who wait; these are for when it is gone as well.
  static constexpr int kFormTimeouts = 2;
  static constexpr int kStallTimeouts = 4;

  // Makes a rail's group for the memory of devices, of that of their hosts, which outlives it.
  // Collective; gives up at `deadline`, or once the hosts' group fails.
  using CreateDeviceRail =
      std::function<absl::StatusOr<std::unique_ptr<Communicator>>(TcpGroup& hosts, absl::Time)>;

  // `port` and `sentinel` (may be null) must outlive this. `create_device_rail`: null where the
  // ranks compute in the hosts' memory. All waiting derives from the job's one knob,
  // `heartbeat_timeout`.
  GangWorld(DataPort& port, Sentinel* sentinel, CreateDeviceRail create_device_rail,
            std::string job_digest, int slots_per_step, absl::Duration heartbeat_timeout)
      : port_(port),
        create_device_rail_(std::move(create_device_rail)),
        sentinel_(sentinel),
        job_digest_(std::move(job_digest)),
        slots_per_step_(slots_per_step),
        heartbeat_timeout_(heartbeat_timeout) {}

  const std::string& address() const { return port_.address(); }

  // Connects this rank to those of its number in the world's other gangs. After an error this is
  // outside of it, as before.
  absl::Status Enter(const World& world, int64_t gang, int rank_in_gang);
  // Collective in the own gang, after Enter failed on any of its ranks: the gangs to which one of
  // them got no connection in time.
  absl::StatusOr<std::set<int64_t>> UnreachedByAnyRank(Communicator& gang) const;
  // Closes the rail: whoever waits for this gang fails.
  void Leave();

  bool is_inside() const { return is_inside_; }
  int place() const { return place_; }  // in the member list
  // Null while this is the only gang.
  TcpGroup* host_rail() { return rail_.get(); }
  const Rail* rail() const { return rail_ == nullptr ? nullptr : &both_; }
  int64_t gang_at(int place) const { return world_.members(place).gang(); }

  // From any thread: generation `generation` begins, so whatever waits on the rail of an older one
  // fails.
  void Interrupt(int64_t generation);

  // --- On the leader, inside, with a rail.

  // Tells all gangs what this one has done.
  void Announce(const SlotsDone& done);
  // Waits for others' words on `step`: ALL_DONE; EXCHANGE_FAILED, of which failure() tells more;
  // NOTHING_NEW after `timeout`, if `wake_fd` is readable, or as long as two gangs disagree.
  ExchangeNews Listen(int64_t step, absl::Duration timeout, int wake_fd);
  // Once for each disagreement that Listen found.
  std::optional<SlotExchange::Disagreement> TakeDisagreement();
  const absl::Status& failure() const { return failure_; }

 private:
  ExchangeNews Judge(int64_t step);

  absl::Status Form(absl::Time deadline);

  DataPort& port_;
  const CreateDeviceRail create_device_rail_;
  Sentinel* const sentinel_;
  const std::string job_digest_;
  const int slots_per_step_;
  const absl::Duration heartbeat_timeout_;
  World world_;
  bool is_inside_ = false;
  int place_ = 0;
  std::unique_ptr<TcpGroup> rail_;
  std::unique_ptr<Communicator> device_rail_;  // null: rail_ serves
  Rail both_;
  std::optional<SlotExchange> exchange_;
  std::optional<SlotExchange::Disagreement> disagreement_;
  int64_t disagreement_step_ = 0;
  absl::Status failure_;
  std::vector<int64_t> unreached_;  // by this rank

  Mutex mutex_;
  TcpGroup* interruptible_ ABSL_GUARDED_BY(mutex_) = nullptr;  // rail_, while it may be interrupted
  int64_t interruptible_generation_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t newest_generation_ ABSL_GUARDED_BY(mutex_) = 0;  // that Interrupt was called with
};

}  // namespace liquid

#endif  // LIQUID_WORKER_GANG_WORLD_H_
