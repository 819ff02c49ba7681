// What a directory of adapters adds to the weights that they are beside.
#ifndef LIQUID_CHECKPOINT_ADAPTER_DELTAS_H_
#define LIQUID_CHECKPOINT_ADAPTER_DELTAS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "checkpoint/hf_directory.h"

namespace liquid {

// Immutable: any thread.
class AdapterDeltas {
 public:
  // Reads all adapters of `directory` into memory. InvalidArgument, NotFound: as ReadAdapterConfig
  // and WeightSource::Open; an A without its B, or of another rank.
  static absl::StatusOr<AdapterDeltas> Open(const std::string& directory);

  // Every adapter is beside a weight of `base` that has its shape: [O,I], or [I,O] if weights are
  // stored `input_major`. InvalidArgument names the first that is not.
  absl::Status CheckFits(const WeightSource& base, bool input_major);

  // values [end - begin] += elements [begin, end) of scale * B A for the weight `name`, whose rows
  // have `width` elements; nothing if no adapter is beside it. REQUIRES: CheckFits.
  void AddTo(const std::string& name, int64_t width, int64_t begin, int64_t end,
             absl::Span<float> values) const;
  bool Has(const std::string& name) const { return deltas_.contains(name); }

 private:
  AdapterDeltas() = default;
  // left right, [rows,rank] [rank,columns] of the weight as it is stored.
  struct Delta {
    int64_t rank = 0;
    std::vector<float> left;
    std::vector<float> right;
  };
  std::string directory_;
  std::map<std::string, Delta> deltas_;  // by weight; before CheckFits left is scale * B, right A
};

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_ADAPTER_DELTAS_H_
