// How long operations take on a real device, found out by doing them.
#ifndef LIQUID_KERNELS_PLAN_OP_TIMING_H_
#define LIQUID_KERNELS_PLAN_OP_TIMING_H_

#include <map>

#include "kernels/ops.h"
#include "kernels/plan/op_call.h"
#include "tensor/device.h"

namespace liquid {

// Each distinct call is done a few times on made-up operands and the middle one of the times
// counts. A call that is too large for a measurement is cut down, along one extent after another,
// and its time scaled by what it is of the whole. Not thread-safe.
class OpTimer {
 public:
  struct Limits {
    double flops = 1e9;       // of a product, an attention, a loss
    double bytes = 32 << 20;  // of operands
  };
  // Seconds of some clock: the wall's unless said otherwise.
  using Clock = double (*)();
  static double WallSeconds();

  // `ops` and `stream`, which must be of one device, must outlive this.
  OpTimer(Ops& ops, Stream& stream, const Limits& limits, Clock clock = WallSeconds)
      : ops_(ops), stream_(stream), limits_(limits), clock_(clock) {}

  double Seconds(const OpCall& call);

 private:
  OpCall CutDown(OpCall call) const;
  double Measure(const OpCall& call) const;

  Ops& ops_;
  Stream& stream_;
  const Limits limits_;
  const Clock clock_;
  std::map<OpCall, double> seconds_;  // of those cut down
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_PLAN_OP_TIMING_H_
