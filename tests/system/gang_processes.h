// Real coordinators and gangs of one machine, for tests and benchmarks that disturb them.
#ifndef LIQUID_TESTS_SYSTEM_GANG_PROCESSES_H_
#define LIQUID_TESTS_SYSTEM_GANG_PROCESSES_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/system/liquid_process.h"

namespace liquid::testing {

// What of a small job differs from case to case. 30 conversations make 11 rows.
struct TinyJob {
  std::string directory;  // of its files; the output is DIRECTORY/run
  double epochs = 8;      // 15 steps
  int slots_per_step = 6;
  int eval_every_steps = 50;
  int checkpoint_every_steps = 5;
  double heartbeat_timeout_seconds = 2;
  int audit_every = 0;
};
// Writes DIRECTORY/train.jsonl and DIRECTORY/job.yaml. REQUIRES: run in the source root.
void WriteTinyJob(const TinyJob& job);
void WriteConversations(const std::string& path, int count);

// liquid-coordinator FILE --listen LISTEN MORE... Null if it does not begin to listen; else
// `address` is where.
std::unique_ptr<Process> StartCoordinator(const std::string& job_file, const std::string& listen,
                                          const std::vector<std::string>& more,
                                          std::string* address);

// mpirun -n RANKS liquid-worker --coordinator ADDRESS MORE..., whose slots take at least so long.
std::unique_ptr<Process> StartGang(const std::string& address, int ranks, double slot_seconds,
                                   const std::vector<std::string>& more = {});

// Of the newest checkpoint of a job's output; or what `liquid fingerprint` said instead.
std::string FingerprintOfJob(const std::string& output);

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_SYSTEM_GANG_PROCESSES_H_
