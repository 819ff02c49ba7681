// The parts of mixed training data (`data.mix` of a job), and how often each is drawn from.
#ifndef LIQUID_DATA_MIXTURE_H_
#define LIQUID_DATA_MIXTURE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset.h"
#include "data/epoch_order.h"
#include "proto/job.pb.h"

namespace liquid {

// How often an epoch of the job draws from each source of `data.mix`, in order; nothing if data is
// not mixed. With epochs E, llround(E * rows) times. With weights there are as many draws as rows
// in all, shared out by weight: rounded down, then one more each for those with the largest rests
// (of equal rests, the first). `parts`: of the prepared dataset. InvalidArgument if they are others
// than the job's, or if a source's share is not even one row.
absl::StatusOr<std::vector<RowSource>> MixedSources(const Data& data,
                                                    const std::vector<MixturePart>& parts);

}  // namespace liquid

#endif  // LIQUID_DATA_MIXTURE_H_
