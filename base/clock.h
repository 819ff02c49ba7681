// Time as a thing that is handed in, so that tests can move it.
#ifndef LIQUID_BASE_CLOCK_H_
#define LIQUID_BASE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace liquid {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace liquid

#endif  // LIQUID_BASE_CLOCK_H_
