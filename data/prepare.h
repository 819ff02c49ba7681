// From JSONL files to a prepared dataset: read, tokenize, mask, fit, pack, write; or nothing at all
// when the same was prepared before.
#ifndef LIQUID_DATA_PREPARE_H_
#define LIQUID_DATA_PREPARE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/hash.h"
#include "data/dataset.h"
#include "data/example_encoder.h"
#include "data/length_histogram.h"
#include "data/message_loss.h"
#include "data/overlong.h"

namespace liquid {

struct PrepareOptions {
  // A source of mixed data: the next `num_files` of the files.
  struct Source {
    std::string name;
    size_t num_files = 0;
  };

  std::vector<std::string> files;  // JSONL, at least one; in this order
  std::vector<Source> sources;     // of all files, if data is mixed (data/mixture.h); else none
  int sequence_length = 0;         // tokens of a row, 2 .. 2^24
  bool packing = true;             // several documents in a row, invisible to each other
  OverlongPolicy overlong = OverlongPolicy::kTruncate;
  int64_t max_bad_rows = 0;   // lines that may be skipped as bad; the next one is an error
  std::string tokenizer;      // directory of tokenizer.json
  std::string chat_template;  // file used instead of the directory's; "": none
  std::string cache;          // directory of prepared datasets; made if it is not there
  LossChoice loss;
};

struct PrepareReport {
  std::string path;  // of the prepared dataset: CACHE/KEY.dataset
  bool reused = false;
  Hash128 digest;            // Dataset::digest()
  int64_t num_examples = 0;  // lines that were good
  int64_t num_rows = 0;
  int64_t num_documents = 0;  // in rows; pieces of split ones count
  int64_t num_tokens = 0;     // without padding
  int64_t num_target_tokens = 0;
  double fill = 0;  // num_tokens of what the rows hold
  OverlongCounts overlong;
  LengthHistogram lengths;                  // of the documents before they were cut
  std::vector<std::string> untrained_rows;  // "FILE:LINE" of OverlongCounts::num_untrained, ten
  int64_t num_bad_rows = 0;
  std::vector<std::string> bad_rows;       // "FILE:LINE: reason", the first ten
  int64_t num_left_out = 0;                // messages to be trained that the chat template left out
  std::vector<std::string> left_out_rows;  // "FILE:LINE" of rows with such messages, ten
  LossChoice loss;
  std::optional<ChatFacts> chat;     // of the template, if there were messages
  int64_t num_without_end = 0;       // texts that end without EOS, as the tokenizer names none
  std::string first_sample;          // the first document as text, trained parts in [[ ]]
  std::vector<MixturePart> mixture;  // what each source has; empty if data is not mixed
};

// Called now and then while a dataset is prepared. An error ends the preparation with that error:
// so signals are answered.
struct PrepareProgress {
  int64_t num_bytes_done = 0;  // of the input files
  int64_t num_bytes = 0;
  int64_t num_examples = 0;
};
using PrepareCallback = std::function<absl::Status(const PrepareProgress&)>;

// Prepares the dataset, or finds it in the cache: its name is a hash of the options, the contents
// and names of all input files, the tokenizer's and template's files and the format's version. A
// damaged file in the cache is made again. Memory does not grow with the data. Errors:
//   InvalidArgument  a bad row beyond max_bad_rows ("FILE:LINE: reason"), data without any target,
//                    a tokenizer or template that cannot be used, a stop token that is never
//                    trained: by the template, or since no turn fits into a row
//   NotFound         an input file
//   Aborted          an input file changed while it was read
absl::StatusOr<PrepareReport> PrepareDataset(const PrepareOptions& options,
                                             const PrepareCallback& progress = nullptr);

// The dataset if it was prepared before; nothing is made. Errors as PrepareDataset's of the options
// and files.
absl::StatusOr<std::optional<PrepareReport>> FindPreparedDataset(const PrepareOptions& options);

// A few lines for people, the first sample included. More of it: data/prepare_report.h.
std::string PrepareReportText(const PrepareReport& report);
// The same as a JSON object, for --json.
std::string PrepareReportJson(const PrepareReport& report);

}  // namespace liquid

#endif  // LIQUID_DATA_PREPARE_H_
