// What a well-behaved gang says, for tests of the coordinator: no weights, but a fingerprint for
// each step that is the same whoever computes it.
#ifndef LIQUID_TESTS_COORDINATOR_GANG_SCRIPT_H_
#define LIQUID_TESTS_COORDINATOR_GANG_SCRIPT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/hash.h"
#include "data/epoch_order.h"
#include "proto/coordinator.pb.h"
#include "proto/job_loader.h"

namespace liquid::testing {

inline constexpr int64_t kNumRows = 10;

// 10 rows, 2 x 2 a step, 2.5 epochs: 25 rows in 7 steps; epochs end inside steps, the last is
// short.
inline Job ScriptedJob(const std::string& output, std::vector<std::string> overrides = {}) {
  overrides.push_back("output=" + output);
  const auto job = ParseJob(
      "job: scripted\nmodel: {from: /m}\ndata: {train: [/a.jsonl]}\n"
      "training: {epochs: 2.5, slots_per_step: 2, rows_per_slot: 2, eval_every_steps: 3}\n"
      "checkpoint: {every_steps: 4}\n",
      "/j.yaml", overrides);
  LIQUID_CHECK(job.ok(), job.status().ToString());
  return *job;
}

// The rows of a job whose data is mixed: two sources, the second one twice in an epoch.
inline const std::vector<RowSource>& MixedRows() {
  static const auto& sources = *new std::vector<RowSource>{{7, 7}, {3, 6}};
  return sources;
}

inline JobStream StreamOf(const Job& job) {
  const Training& training = job.training();
  const bool shuffle = job.data().shuffle();
  return JobStream(job.data().mix().empty() ? EpochOrder(training.seed(), kNumRows, shuffle)
                                            : EpochOrder(training.seed(), MixedRows(), shuffle),
                   training.epochs(), training.slots_per_step(), training.rows_per_slot());
}

inline std::string FingerprintOf(int64_t step) { return ToHex(HashBytes(absl::StrCat(step))); }

inline std::string CheckpointName(int64_t step) { return absl::StrFormat("step-%08d", step); }

inline Join JoinAt(const Job& job, int64_t step) {
  Join join;
  join.set_name("host:1");
  join.set_host("host");
  join.add_data_addresses("data:1");
  join.add_data_addresses("data:2");
  join.set_num_ranks(2);
  join.set_tensor_parallel(1);
  join.set_job_digest(JobDigest(job));
  join.set_dataset_digest("d1");
  join.set_num_rows(kNumRows);
  for (int i = 0; i < job.data().mix_size(); ++i) {
    SourceRows& source = *join.add_sources();
    source.set_name(job.data().mix(i).name());
    source.set_rows(MixedRows()[i].num_rows);
    source.set_draws(MixedRows()[i].draws);
  }
  join.set_code_version("0.1.0");
  join.set_recipe("avx2");
  join.set_probe("p1");
  join.set_applied_step(step);
  if (step >= 0) join.set_fingerprint(FingerprintOf(step));
  if (step > 0) join.set_checkpoint(CheckpointName(step));
  return join;
}

// `checkpoint`: the state was loaded, not trained to.
inline GangMessage ReadyMessage(int64_t generation, int64_t step, bool checkpoint = false) {
  GangMessage message;
  Ready& ready = *message.mutable_ready();
  ready.set_generation(generation);
  ready.set_applied_step(step);
  if (step >= 0) ready.set_fingerprint(FingerprintOf(step));
  if (step > 0 && checkpoint) ready.set_checkpoint(CheckpointName(step));
  return message;
}

inline GangMessage StepMessage(const Job& job, const Plan& plan) {
  const JobStream stream = StreamOf(job);
  GangMessage message;
  StepReport& report = *message.mutable_step();
  report.set_generation(plan.generation());
  report.set_step(plan.step());
  report.set_loss(1.0 / static_cast<double>(plan.step()));
  report.set_target_tokens(7);
  report.set_tokens(9);
  report.set_fingerprint(FingerprintOf(plan.step()));
  *report.mutable_slots() = plan.slots();
  report.set_stream_begin(stream.StreamBegin(plan.step()));
  report.set_stream_end(stream.StreamEnd(plan.step()));
  report.set_step_seconds(0.5);
  for (const SlotRange& range : plan.slots()) {
    report.set_compute_seconds(report.compute_seconds() + 0.1 * (range.end() - range.begin()));
  }
  return message;
}

inline GangMessage CheckpointMessage(int64_t generation, int64_t step) {
  GangMessage message;
  CheckpointReport& report = *message.mutable_checkpoint();
  report.set_generation(generation);
  report.set_step(step);
  report.set_directory(CheckpointName(step));
  report.set_manifest_digest("m");
  return message;
}

inline GangMessage EvalMessage(int64_t generation, int64_t step) {
  GangMessage message;
  message.mutable_eval()->set_generation(generation);
  message.mutable_eval()->set_step(step);
  message.mutable_eval()->set_loss(2);
  return message;
}

inline GangMessage LeaveMessage(Leave::Reason reason, const std::string& error = "",
                                int64_t applied_step = 0) {
  GangMessage message;
  message.mutable_leave()->set_applied_step(applied_step);
  message.mutable_leave()->set_reason(reason);
  message.mutable_leave()->set_error(error);
  return message;
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_COORDINATOR_GANG_SCRIPT_H_
