#ifndef LIQUID_WORKER_LEARNING_RATE_H_
#define LIQUID_WORKER_LEARNING_RATE_H_

#include <cstdint>

#include "proto/job.pb.h"

namespace liquid {

// The learning rate of update `step`, 1 <= step <= num_steps. It rises linearly to
// `learning_rate` at step `warmup_steps`, then follows the schedule down to
// `learning_rate * final_learning_rate_ratio` at step num_steps:
//   constant: stays;  linear: straight;  cosine: half a cosine (arXiv:1608.03983, eq. 5, one
//   cycle).
double LearningRate(const Optimizer& optimizer, int64_t step, int64_t num_steps);

}  // namespace liquid

#endif  // LIQUID_WORKER_LEARNING_RATE_H_
