// What a job file may say, field by field: the default (written here and nowhere else), the values
// that are possible, and how a text becomes the value.
#ifndef LIQUID_PROTO_JOB_FIELDS_H_
#define LIQUID_PROTO_JOB_FIELDS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace liquid {

enum class FieldKind {
  kText,      // any text that is not empty
  kJobPath,   // a path, relative to the directory of the job file
  kWorkPath,  // a path, relative to the working directory
  kNumber,    // within `range`
  kBytes,     // a number with an optional KB, MB, GB, TB, KiB, MiB, GiB or TiB, within `range`
  kChoice,    // one of `choices`
  kSwitch,    // true or false
};

struct JobField {
  std::string_view path;  // "training.epochs"; "data.mix.name" of each item of a list
  FieldKind kind;
  std::string_view default_yaml;  // in the words of a job file; "null": empty, or not set
  std::string_view range = "";    // "[1, 10]", "(0, inf)": as people write it, checked as such
  std::vector<std::string_view> choices = {};
  std::string_view remark = "";  // said after a refusal: what else there will be
};

// Every field of the message Job that a job file may set, in its order.
const std::vector<JobField>& JobFields();

// Whether it is of the items of a list of maps.
bool IsOfListItem(const JobField& field);

// The field of that path; null if there is none.
const JobField* FindJobField(std::string_view path);

// OK if `value` is inside `field.range`, or there is none; else an InvalidArgument that says
// "must be in [1, 10], got 0".
absl::Status CheckRange(const JobField& field, double value, std::string_view written);

// "512", "5GB" or "2 MiB" as a number of bytes. KB is 1,000 and KiB 1,024. False if it is no such
// text or does not fit.
bool ParseBytes(std::string_view text, int64_t* num_bytes);

// Among `candidates`, the nearest to `word` by edit distance, if it is near enough to be a slip
// (at most a third of the longer one's letters, at least one); else empty.
std::string DidYouMean(std::string_view word, absl::Span<const std::string> candidates);

}  // namespace liquid

#endif  // LIQUID_PROTO_JOB_FIELDS_H_
