// Job files: YAML for people, the message Job (proto/job.proto) for programs.
//
// The keys of the file are the fields of the message, found by reflection; defaults and possible
// values are in proto/job_fields.cc. Unknown keys, wrong types and impossible values are refused
// with file:line:column, or with the override at fault.
#ifndef LIQUID_PROTO_JOB_LOADER_H_
#define LIQUID_PROTO_JOB_LOADER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/job.pb.h"

namespace liquid {

// The job of the file `path`, with `overrides` ("training.epochs=3", values in YAML, as after
// --set) put over it and every default filled in. A key whose value is `null` counts as not given.
// Paths come out absolute: those under `model` and `data` are relative to the directory of the
// file, `output` and a `checkpoint.resume` that is a path to the working directory.
// `model.tokenizer` defaults to `model.from`, `job` to the name of the file. Does not look whether
// the files it names exist.
// NotFound if there is no file `path`; InvalidArgument, one line, for the first thing wrong in it.
absl::StatusOr<Job> LoadJob(const std::string& path, absl::Span<const std::string> overrides);

// As LoadJob, for a text that would stand in the file `path`.
absl::StatusOr<Job> ParseJob(const std::string& text, const std::string& path,
                             absl::Span<const std::string> overrides);

// `job` as a job file that says everything. Loading it gives an equal job, anywhere.
std::string EffectiveYaml(const Job& job);

// SHA-256, in hexadecimal, of what decides the result of the job and nothing else, so that the same
// job in another directory or on another machine has the same: all of model, data, training and
// optimizer but
// - paths (`model.from`, `.config`, `.tokenizer`, `data.train`, `.eval`, `.chat_template`, the
//   files of `data.mix`): the
//   content behind them is in the dataset digest, the fingerprint of the starting weights and the
//   recipe, which a joining gang shows beside this digest;
// - what changes no weight: `model.recompute`, `data.max_bad_rows`, `training.eval_every_steps`,
//   `.eval_at_start`, `.eval_samples`, `.eval_sample_tokens`;
// - what changes its last bits alone: `model.tensor_parallel`, `model.sequence_parallel`,
//   `training.device`.
// The text that is hashed: "liquid job 1\n", then "path=value\n" for each field in the order of
// JobFields(), numbers as printf's %.17g or in decimal, lists separated by commas; for `data.mix`
// "NAME epochs E" or "NAME weight W" of each source, separated by ", ".
std::string JobDigest(const Job& job);

// The fields that JobDigest covers in which two jobs differ, for people:
// "training.seed was 42, is 43; data.shuffle was true, is false". Empty: they agree.
std::string DescribeDifference(const Job& before, const Job& now);

}  // namespace liquid

#endif  // LIQUID_PROTO_JOB_LOADER_H_
