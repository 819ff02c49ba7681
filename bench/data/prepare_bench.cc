// Speed and memory of preparing a dataset: conversations per minute on one core (goal: 20,000) and
// the growth of resident memory with ten times the data (goal: none).
//
// Data and tokenizer come from LIQUID_SHARED (default ../shared): data/train.jsonl and
// golden/tokenizers/qwen3.
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "benchmark/benchmark.h"
#include "data/dataset.h"
#include "data/prepare.h"
#include "tests/testing/gzip_file.h"

namespace liquid {
namespace {

std::string Shared() {
  const char* shared = std::getenv("LIQUID_SHARED");
  return shared == nullptr ? "../shared" : shared;
}

// A temporary folder with the unpacked tokenizer in it; "" if there is no such data.
std::string MakeFolder() {
  char pattern[] = "/tmp/liquid_prepare_bench_XXXXXX";
  const std::string folder = mkdtemp(pattern);
  const std::string source = Shared() + "/golden/tokenizers/qwen3/";
  const std::string json = testing::ReadPlainOrGzip(source + "tokenizer.json");
  const auto config = ReadFile(source + "tokenizer_config.json");
  if (json.empty() || !config.ok()) return "";
  const bool written =
      MakeDirectories(folder + "/tokenizer").ok() &&
      WriteFileAtomically(folder + "/tokenizer/tokenizer.json", json).ok() &&
      WriteFileAtomically(folder + "/tokenizer/tokenizer_config.json", *config).ok();
  return written ? folder : "";
}

// VmHWM of this process since the last ResetPeak(), in bytes.
int64_t PeakBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atoll(line.c_str() + 6) * 1024;
  }
  return 0;
}
void ResetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }

// Argument: how many times the training file is read.
void Prepare(benchmark::State& state) {
  const std::string folder = MakeFolder();
  if (folder.empty()) {
    state.SkipWithError("no LIQUID_SHARED/golden/tokenizers/qwen3");
    return;
  }
  PrepareOptions options;
  options.files.assign(static_cast<size_t>(state.range(0)), Shared() + "/data/train.jsonl");
  options.sequence_length = 512;
  options.tokenizer = folder + "/tokenizer";
  options.cache = folder + "/cache";
  int64_t num_examples = 0;
  double fill = 0;
  int64_t peak = 0;
  for (auto _ : state) {
    ResetPeak();
    const auto report = PrepareDataset(options);
    peak = PeakBytes();
    if (!report.ok()) {
      state.SkipWithError(std::string(report.status().message()).c_str());
      break;
    }
    num_examples += report->num_examples;
    fill = report->fill;
    state.PauseTiming();
    RemoveRecursively(options.cache).IgnoreError();
    state.ResumeTiming();
  }
  state.counters["conversations_per_minute"] =
      benchmark::Counter(static_cast<double>(num_examples) * 60, benchmark::Counter::kIsRate);
  state.counters["fill"] = fill;
  state.counters["peak_resident_MB"] = static_cast<double>(peak) / 1e6;
  RemoveRecursively(folder).IgnoreError();
}
BENCHMARK(Prepare)->Arg(1)->Arg(10)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();

// Filling the arrays of rows, in rows' order.
void FillRow(benchmark::State& state) {
  const std::string folder = MakeFolder();
  PrepareOptions options;
  options.files = {"configs/quickstart/train.jsonl"};
  options.sequence_length = 512;
  options.tokenizer = "configs/quickstart/tokenizer";
  options.cache = folder + "/cache";
  const auto report = PrepareDataset(options);
  if (!report.ok()) {
    state.SkipWithError(std::string(report.status().message()).c_str());
    return;
  }
  const auto dataset = Dataset::Open(report->path);
  std::vector<int32_t> tokens(512), targets(512), positions(512), document_start(512);
  int64_t row = 0;
  for (auto _ : state) {
    dataset->FillRow(row, tokens.data(), targets.data(), positions.data(), document_start.data());
    benchmark::DoNotOptimize(targets.data());
    row = (row + 1) % dataset->num_rows();
  }
  state.SetItemsProcessed(state.iterations() * 512);
  RemoveRecursively(folder).IgnoreError();
}
BENCHMARK(FillRow);

}  // namespace
}  // namespace liquid
