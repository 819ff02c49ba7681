// The machine at hand, as the model of machines wants it: measured.
#ifndef LIQUID_WORKER_MEASURED_MACHINE_H_
#define LIQUID_WORKER_MEASURED_MACHINE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "tensor/device.h"
#include "worker/machine_model.h"

namespace liquid {

// Rates of `device`, which this and `ranks_on_machine` - 1 other ranks share if it is a CPU, with
// this process's team; each operation is measured when its time is first asked for, which takes
// memory of the device for that moment. Links between devices and machines are assumed.
absl::StatusOr<Machine> MeasuredMachine(std::shared_ptr<Device> device, int ranks_on_machine);

}  // namespace liquid

#endif  // LIQUID_WORKER_MEASURED_MACHINE_H_
