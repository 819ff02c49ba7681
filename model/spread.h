// The two verbs by which a pass crosses between the residual stream and what is spread over
// tensor-parallel ranks. Without such ranks they are nothing. Each is the other's backward.
#ifndef LIQUID_MODEL_SPREAD_H_
#define LIQUID_MODEL_SPREAD_H_

#include "model/layers.h"

namespace liquid {

// From the residual stream, [N/T,D] with sequence parallelism, to all its tokens [N,D], which
// weights split by rows are applied to. Backward: the sum over ranks of the gradients, or this
// rank's share of it. Source: arXiv:1909.08053, f; arXiv:2205.05198, g.
Variable Gather(Pass& pass, Variable x);

// From every rank's share [N,D] of a sum to the residual stream.
Variable SumOverRanks(Pass& pass, Variable x);

}  // namespace liquid

#endif  // LIQUID_MODEL_SPREAD_H_
