#include "tests/system/gang_processes.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/launch.h"

namespace liquid::testing {

void WriteConversations(const std::string& path, int count) {
  std::ifstream all("configs/quickstart/train.jsonl");
  std::vector<std::string> lines;
  for (std::string line; static_cast<int>(lines.size()) < count && std::getline(all, line);) {
    lines.push_back(line);
  }
  std::ofstream(path) << absl::StrJoin(lines, "\n") << "\n";
}

void WriteTinyJob(const TinyJob& job) {
  WriteConversations(job.directory + "/train.jsonl", 30);
  const std::string root = std::filesystem::current_path().string();
  std::ofstream(job.directory + "/job.yaml") << absl::StrCat(
      "job: tiny\noutput: ", job.directory, "/run\nmodel: {config: ", root,
      "/tests/system/tiny_model.json, tokenizer: ", root,
      "/configs/quickstart/tokenizer, init_seed: 7}\n"
      "data: {train: [train.jsonl], eval: [train.jsonl], sequence_length: 128}\n"
      "training: {epochs: ",
      job.epochs, ", slots_per_step: ", job.slots_per_step,
      ", rows_per_slot: 1, seed: 5, eval_every_steps: ", job.eval_every_steps,
      "}\noptimizer: {learning_rate: 1.0e-2, warmup_steps: 2}\ncheckpoint: {every_steps: ",
      job.checkpoint_every_steps,
      ", keep_last: 3}\ncoordinator: {heartbeat_timeout_seconds: ", job.heartbeat_timeout_seconds,
      ", audit_every: ", job.audit_every, "}\n");
}

std::unique_ptr<Process> StartCoordinator(const std::string& job_file, const std::string& listen,
                                          const std::vector<std::string>& more,
                                          std::string* address) {
  std::vector<std::string> command = {"liquid-coordinator", job_file, "--listen", listen};
  command.insert(command.end(), more.begin(), more.end());
  auto coordinator = std::make_unique<Process>(command);
  if (!coordinator->WaitForOutput(" at 127.0.0.1:", absl::Seconds(20))) return nullptr;
  const std::string output = coordinator->output();
  const size_t begin = output.find(" at 127.0.0.1:") + 4;
  *address = output.substr(begin, output.find_first_of(", \n", begin) - begin);
  return coordinator;
}

std::unique_ptr<Process> StartGang(const std::string& address, int ranks, double slot_seconds,
                                   const std::vector<std::string>& more) {
  Launch launch;
  launch.num_ranks = ranks;
  launch.worker = absl::StrCat(LIQUID_BIN_DIR, "/liquid-worker");
  launch.worker_arguments = {"--coordinator", address, "--test-slot-seconds",
                             absl::StrCat(slot_seconds)};
  launch.worker_arguments.insert(launch.worker_arguments.end(), more.begin(), more.end());
  return std::make_unique<Process>(MpirunCommand(launch));
}

std::string FingerprintOfJob(const std::string& output) {
  return LastLine(RunToEnd({"liquid", "fingerprint", output + "/checkpoints/latest"}).output);
}

}  // namespace liquid::testing
