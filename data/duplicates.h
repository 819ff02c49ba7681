// Examples that stand in two sets of files: what is evaluated should not have been trained.
#ifndef LIQUID_DATA_DUPLICATES_H_
#define LIQUID_DATA_DUPLICATES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

struct Duplicates {
  struct Pair {
    std::string train;  // "FILE:LINE", the first one
    std::string eval;
    friend bool operator==(const Pair&, const Pair&) = default;
  };
  int64_t num_eval = 0;        // examples of the eval files
  int64_t num_duplicates = 0;  // of them, those that a train file has as well
  std::vector<Pair> pairs;     // the first ones, in the order of the train files
};

// Compares by ContentHash (data/conversation.h). Lines that are no examples are passed over: it is
// for the preparation to name them. Lists at most `max_pairs`. Memory: some 40 bytes for each
// example of `eval`, whatever the size of `train`. NotFound for a file that is not there.
absl::StatusOr<Duplicates> FindDuplicates(const std::vector<std::string>& train,
                                          const std::vector<std::string>& eval, size_t max_pairs);

}  // namespace liquid

#endif  // LIQUID_DATA_DUPLICATES_H_
