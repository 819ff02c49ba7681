// Operations of a warp: every lane of the mask leaves its payload, and the last one resolves all.
#include <bit>
#include <cstring>

#include "tests/emulated_cuda/scheduler.h"

namespace liquid::emulated {
namespace {

int LowestLane(uint32_t mask) { return std::countr_zero(mask); }

void CheckMask(const Warp& warp, uint32_t mask, uint32_t own, const char* what, Site site) {
  if ((mask & own) == 0) {
    Fault(std::string(what) + ": the calling lane is not in its own mask, at " + Text(site));
  }
  if ((mask & warp.returned) != 0) {
    Fault(std::string(what) + " at " + Text(site) + ": the mask names a lane that has returned");
  }
}

// Whether all lanes that wait in `participants` are in this very operation. Those that are in
// another one, and expect this lane in it, can never be served.
bool AllAreInThisOne(const Warp& warp, uint32_t participants, const ScheduledThread& self) {
  for (uint32_t lanes = participants; lanes != 0; lanes &= lanes - 1) {
    const ScheduledThread& other = *warp.lanes[LowestLane(lanes)];
    if (other.mask == self.mask && strcmp(other.what, self.what) == 0) continue;
    if ((other.mask >> self.lane & 1) != 0) {
      Fault(std::string("mismatched warp collectives: ") + self.what + " at " + Text(self.site) +
            " against " + other.what + " at " + Text(other.site) + " in lane " +
            std::to_string(other.lane));
    }
    return false;
  }
  return true;
}

void Complete(Warp& warp, uint32_t participants, const ScheduledThread& self, Resolve resolve) {
  if (resolve != nullptr) {
    void* payloads[32] = {};
    for (uint32_t lanes = participants; lanes != 0; lanes &= lanes - 1) {
      payloads[LowestLane(lanes)] = warp.lanes[LowestLane(lanes)]->payload;
    }
    resolve(payloads, participants);
  }
  warp.waiting &= ~participants;
  ++warp.phase;
  for (uint32_t lanes = participants & ~(1u << self.lane); lanes != 0; lanes &= lanes - 1) {
    ScheduledThread* other = warp.lanes[LowestLane(lanes)];
    other->mask = 0;
    MakeReady(other, /*soon=*/true);
  }
}

}  // namespace

void WarpCollective(uint32_t mask, const char* what, void* payload, Resolve resolve,
                    bool orders_memory, Site site) {
  RequireCudaThread(what);
  ScheduledThread& thread = RunningThread();
  Warp& warp = *thread.warp;
  const uint32_t own = 1u << thread.lane;
  CheckMask(warp, mask, own, what, site);
  thread.what = what;
  thread.site = site;
  thread.mask = mask;
  thread.payload = payload;
  char* const order = &warp.order[warp.phase % 2];
  if (orders_memory) Release(order);
  warp.waiting |= own;
  const uint32_t participants = mask & warp.live;  // the last warp of a block may have fewer lanes
  if ((participants & ~warp.waiting) == 0 && AllAreInThisOne(warp, participants & ~own, thread)) {
    Complete(warp, participants, thread, resolve);
  } else {
    Wait(State::kInWarpCollective);
  }
  if (orders_memory) Acquire(order);
}

void ResolveShuffle(void* const* payloads, uint32_t mask) {
  for (uint32_t lanes = mask; lanes != 0; lanes &= lanes - 1) {
    auto* to = static_cast<Shuffle*>(payloads[LowestLane(lanes)]);
    const auto* from = static_cast<const Shuffle*>(payloads[to->source_lane % 32]);
    to->out = from != nullptr ? from->in : ~uint64_t{0};  // undefined on a GPU
  }
}

void ResolveBallot(void* const* payloads, uint32_t mask) {
  uint32_t votes = 0;
  for (uint32_t lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const int lane = LowestLane(lanes);
    votes |= static_cast<uint32_t>(static_cast<Ballot*>(payloads[lane])->in) << lane;
  }
  for (uint32_t lanes = mask; lanes != 0; lanes &= lanes - 1) {
    static_cast<Ballot*>(payloads[LowestLane(lanes)])->out = votes;
  }
}

void ResolveMatch(void* const* payloads, uint32_t mask) {
  for (uint32_t lanes = mask; lanes != 0; lanes &= lanes - 1) {
    auto* match = static_cast<Match*>(payloads[LowestLane(lanes)]);
    for (uint32_t others = mask; others != 0; others &= others - 1) {
      const int other = LowestLane(others);
      if (static_cast<Match*>(payloads[other])->in == match->in) match->out |= 1u << other;
    }
  }
}

}  // namespace liquid::emulated
