// Answers to a few conversations of the eval data, for people to read.
#ifndef LIQUID_WORKER_SAMPLE_ANSWERS_H_
#define LIQUID_WORKER_SAMPLE_ANSWERS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parallel/communicator.h"
#include "proto/job.pb.h"
#include "worker/train_state.h"

namespace liquid {

class ExampleEncoder;  // data/example_encoder.h

// A conversation of the eval data that is to be answered.
struct SamplePrompt {
  std::string text = {};          // as the model is given it
  std::vector<int32_t> ids = {};  // of `text`
  std::string reference = {};     // the answer of the data; empty if that is no text
};

// The first `count` conversations of `files` up to their last assistant turn, and prompts with a
// completion. What has no such turn, cannot be read or has `max_tokens` or more is passed over.
absl::StatusOr<std::vector<SamplePrompt>> ReadSamplePrompts(const std::vector<std::string>& files,
                                                            const ExampleEncoder& encoder,
                                                            int64_t count, int64_t max_tokens);

// Changes nothing of the training. One thread at a time.
class SampleAnswers {
 public:
  // Collective over `world`, the gang. Reads the first `training.eval_samples` conversations; null
  // if the job wants none. `state` must outlive this.
  static absl::StatusOr<std::unique_ptr<SampleAnswers>> Create(const Job& job, Communicator& world,
                                                               TrainState& state);
  ~SampleAnswers();

  // The first replica of the gang answers each of them, token by token the likeliest; ranks of
  // others return at once. Its first rank tells `say` and adds a line each to OUTPUT/samples.jsonl
  // (a failure is said, and nothing else). Ends early when a rank of the replica is asked to go.
  // The error is a rank that is gone.
  absl::Status Run(const std::function<void(const std::string& line)>& say);

 private:
  SampleAnswers(const Job& job, TrainState& state);
  void Tell(const SamplePrompt& prompt, const std::string& answer, bool ended,
            const std::function<void(const std::string& line)>& say);

  const Job& job_;
  TrainState& state_;
  std::unique_ptr<ExampleEncoder> encoder_;  // of rank 0
  std::vector<SamplePrompt> prompts_;        // texts: of rank 0
  std::set<int32_t> stop_tokens_;
};

}  // namespace liquid

#endif  // LIQUID_WORKER_SAMPLE_ANSWERS_H_
