#ifndef LIQUID_WORKER_THROUGHPUT_H_
#define LIQUID_WORKER_THROUGHPUT_H_

#include "kernels/ops.h"
#include "tensor/device.h"

namespace liquid {

// FLOP/s of a matrix product of a cache-friendly shape on this rank's threads, the best of a few
// tries; some 20 ms. What MFU is relative to.
double MeasurePeakFlops(DType dtype, Ops& ops, Stream& stream);

}  // namespace liquid

#endif  // LIQUID_WORKER_THROUGHPUT_H_
