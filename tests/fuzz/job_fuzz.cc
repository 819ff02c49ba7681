// A job file. What is accepted survives being written in full and read.
#include <string>

#include "base/check.h"
#include "proto/job_loader.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto job = liquid::ParseJob(std::string(liquid::AsText(data, size)), "/j.yaml", {});
  if (!job.ok()) return 0;
  const std::string yaml = liquid::EffectiveYaml(*job);
  const auto again = liquid::ParseJob(yaml, "/j.yaml", {});
  LIQUID_CHECK(again.ok(), again.status().ToString());
  LIQUID_CHECK(liquid::EffectiveYaml(*again) == yaml);
  LIQUID_CHECK(liquid::JobDigest(*again) == liquid::JobDigest(*job));
  return 0;
}
