// What a ledger proves, and what it knows, without a coordinator, a dataset or weights at hand.
#ifndef LIQUID_COORDINATOR_AUDIT_H_
#define LIQUID_COORDINATOR_AUDIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace liquid {

// One epoch, as far as the committed steps go. Of mixed data each source has epochs of its own.
struct EpochCoverage {
  std::string source;        // its name; empty: data is not mixed
  int64_t epoch = 0;         // 0, 1, ...
  int64_t rows_trained = 0;  // each of them exactly once
  int64_t num_rows = 0;      // of the source; equal to rows_trained when the epoch is complete
};

struct AuditReport {
  int64_t num_entries = 0;
  std::string head;  // hash of the last entry
  std::string job_digest;
  std::string dataset_digest;
  int64_t committed_steps = 0;
  int64_t num_steps = 0;       // of the whole job
  int64_t voided_steps = 0;    // committed once, given up, to be done again
  int64_t repeated_steps = 0;  // of those: done again, with the same fingerprint if exact
  int64_t num_checkpoints = 0;
  int64_t num_generations = 0;
  int64_t num_gangs = 0;  // that were ever in the job
  int64_t num_steals = 0;
  int64_t num_wrong_answers = 0;      // slots of which two gangs computed different gradients
  std::string fingerprint;            // of the weights after the last committed step
  std::vector<EpochCoverage> epochs;  // by source, then in order
};

// Proves, from the file alone:
// - no entry was changed, left out or put in between (hash chain);
// - every entry follows from those before it (job_record.h): steps one after the other, slots only
//   by the gangs that they were leased to, in the generation that leased them, a repeated step with
//   the fingerprint it had, checkpoints of committed steps;
// - in the committed steps, every row of every epoch that they complete was trained exactly once,
//   and no row twice in the one they may be in: the rows of each slot are derived from the seed
//   again and counted. Of mixed data this holds for the epochs of each source.
// DataLoss, naming the entry or the step, if any of it fails. NotFound if there is no ledger.
// Memory: one bit a row of the epochs that are begun, and some 300 bytes a step.
absl::StatusOr<AuditReport> Audit(const std::string& ledger_path);

// The rows of `step`, slot by slot. OutOfRange unless it is committed.
struct SlotContent {
  int slot = 0;
  int64_t gang = 0;
  std::vector<int64_t> rows;    // -1: empty, behind the end of the job's stream
  std::vector<int64_t> epochs;  // of each row, in its source; -1 for an empty one
};
absl::StatusOr<std::vector<SlotContent>> ContentOfStep(const std::string& ledger_path,
                                                       int64_t step);

// The status of a job that no coordinator serves at the moment, from OUTPUT/ledger.sqlite: PENDING,
// WAITING, DONE or FAILED. NotFound if there is none.
absl::StatusOr<JobStatus> ReadJobStatus(const std::string& output);

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_AUDIT_H_
