// Looks for everything that is wrong with a model directory, instead of stopping at the first.
#ifndef LIQUID_CHECKPOINT_VERIFY_H_
#define LIQUID_CHECKPOINT_VERIFY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

struct VerifyProblem {
  std::string file;    // name in the directory
  std::string tensor;  // empty: not about one
  int64_t begin = 0;   // bytes [begin, end) of the file; 0, 0: not about a range
  int64_t end = 0;
  std::string what;

  std::string ToString() const;  // one line: FILE: tensor "NAME": bytes [B,E): WHAT
};

struct VerifyReport {
  std::vector<VerifyProblem> problems;  // in the order of files and bytes
  bool has_manifest = false;  // one of our checkpoints: contents were verified, not only structure
  int64_t num_files = 0;
  int64_t num_tensors = 0;
  int64_t num_bytes = 0;
};

// Verifies the checkpoint or the Hugging Face model in `directory` with `num_threads` threads. With
// a manifest: every byte of every file, the index, and the weights' fingerprint. Without: the index
// and the structure of the files. NotFound: no such directory.
absl::StatusOr<VerifyReport> VerifyDirectory(const std::string& directory, int num_threads);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_VERIFY_H_
