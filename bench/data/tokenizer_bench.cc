// Speed of tokenizers: MB/s of text on one core, next to the 1.5 to 3.5 MB/s that the Hugging Face
// Rust tokenizer was measured at on such a machine. The text is 8 MB of Debian's documentation;
// the tokenizers come from LIQUID_SHARED (default ../shared).
//
// The machine may be shared, so "user_MB_s" counts the time that this process had, and "wall_MB_s"
// the time that passed. Encode is of documents one by one, EncodeWhole of all as one text.
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "bench/data/debian_text.h"
#include "benchmark/benchmark.h"
#include "data/tokenizer.h"
#include "tests/testing/gzip_file.h"

namespace liquid {
namespace {

constexpr size_t kTextBytes = 8'000'000;
constexpr double kReferenceMegabytesPerSecond = 3.5;  // the upper end

std::string Shared() {
  const char* shared = std::getenv("LIQUID_SHARED");
  return shared == nullptr ? "../shared" : shared;
}

const std::vector<std::string>& Texts() {
  static const std::vector<std::string> texts = DebianDocuments(kTextBytes);
  return texts;
}

const std::vector<std::string>& WholeText() {
  static const std::vector<std::string> whole = [] {
    std::string text;
    for (const std::string& document : Texts()) text += document;
    return std::vector<std::string>{text};
  }();
  return whole;
}

std::string TokenizerJson(const std::string& name) {
  return testing::ReadPlainOrGzip(Shared() + "/golden/tokenizers/" + name + "/tokenizer.json");
}

double UserSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec) * 1e-6;
}

double WallSeconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// From its making to Report(): the rates at which text went by.
class Rates {
 public:
  void Report(benchmark::State& state) const {
    const double user = UserSeconds() - user_begin_;
    const double wall = WallSeconds() - wall_begin_;
    size_t num_bytes = 0;
    for (const std::string& text : Texts()) num_bytes += text.size();
    const double megabytes =
        static_cast<double>(num_bytes) * static_cast<double>(state.iterations()) * 1e-6;
    state.counters["user_MB_s"] = megabytes / user;
    state.counters["wall_MB_s"] = megabytes / wall;
    state.counters["times_reference"] = megabytes / user / kReferenceMegabytesPerSecond;
  }

 private:
  double user_begin_ = UserSeconds();
  double wall_begin_ = WallSeconds();
};

void BM_Encode(benchmark::State& state, const std::string& name, bool whole, bool offsets) {
  const std::vector<std::string>& texts = whole ? WholeText() : Texts();
  const auto tokenizer = Tokenizer::FromJson(TokenizerJson(name), name);
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  std::vector<int32_t> ids;
  std::vector<ByteRange> ranges;
  ids.resize(kTextBytes);  // touches the memory
  if (offsets) ranges.resize(kTextBytes);
  const Rates rates;
  for (auto _ : state) {
    for (const std::string& text : texts) {
      ids.clear();
      ranges.clear();
      if (offsets) {
        (*tokenizer)->EncodeWithOffsets(text, {}, &ids, &ranges);
      } else {
        (*tokenizer)->Encode(text, &ids);
      }
      benchmark::DoNotOptimize(ids.data());
    }
  }
  rates.Report(state);
}

void BM_Decode(benchmark::State& state, const std::string& name) {
  const auto tokenizer = Tokenizer::FromJson(TokenizerJson(name), name);
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  std::vector<std::vector<int32_t>> all;
  for (const std::string& text : Texts()) (*tokenizer)->Encode(text, &all.emplace_back());
  const Rates rates;
  for (auto _ : state) {
    for (const auto& ids : all) benchmark::DoNotOptimize((*tokenizer)->Decode(ids, false));
  }
  rates.Report(state);
}

void BM_Load(benchmark::State& state, const std::string& name) {
  const std::string json = TokenizerJson(name);
  for (auto _ : state) {
    const auto tokenizer = Tokenizer::FromJson(json, name);
    if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  }
  state.SetBytesProcessed(static_cast<int64_t>(json.size()) * state.iterations());
}

[[maybe_unused]] const bool registered = [] {
  for (const std::string name : {"gpt2", "llama3_1", "qwen3", "gptoss", "lfm2_surrogate",
                                 "deepseek_v3", "gemma3", "mistral_v01", "stories260K"}) {
    const auto add = [&name](const std::string& what, auto function, auto... args) {
      benchmark::RegisterBenchmark((what + "/" + name).c_str(), function, name, args...)
          ->Unit(benchmark::kMillisecond)
          ->Iterations(1);  // what a tokenizer remembers of a text must not count
    };
    add("Encode", BM_Encode, false, false);
    add("EncodeWhole", BM_Encode, true, false);
    add("EncodeWithOffsets", BM_Encode, false, true);
    add("Decode", BM_Decode);
    add("Load", BM_Load);
  }
  return true;
}();

}  // namespace
}  // namespace liquid
