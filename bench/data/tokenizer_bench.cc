// Speed of tokenizers: MB/s of text on one core, next to the 1.5 to 3.5 MB/s that the Hugging Face
// Rust tokenizer was measured at on such a machine.
//
// Tokenizers and text come from LIQUID_SHARED (default ../shared), the text of last resort from the
// sources of this repository.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "data/tokenizer.h"
#include "tests/testing/gzip_file.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;

constexpr double kReferenceBytesPerSecond = 3.5e6;  // the upper end

std::string Shared() {
  const char* shared = std::getenv("LIQUID_SHARED");
  return shared == nullptr ? "../shared" : shared;
}

// Texts of a few kilobytes: conversations, and the pages of /usr/share/doc for longer ones.
std::vector<std::string> ReadTexts() {
  std::vector<std::string> texts;
  std::ifstream conversations(Shared() + "/data/train.jsonl");
  for (std::string line; std::getline(conversations, line);) texts.push_back(line);
  size_t num_bytes = 0;
  for (const char* directory : {"/usr/share/perl", "/usr/share/doc", "tests"}) {
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(
             directory, fs::directory_options::skip_permission_denied, error)) {
      if (num_bytes > 4'000'000) break;
      const std::string name = entry.path().extension().string();
      if (name == ".gz" || !entry.is_regular_file(error)) continue;
      std::ifstream file(entry.path());
      texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
      num_bytes += texts.back().size();
    }
  }
  return texts;
}

const std::vector<std::string>& Texts() {
  static const std::vector<std::string> texts = ReadTexts();
  return texts;
}

std::string TokenizerJson(const std::string& name) {
  return testing::ReadPlainOrGzip(Shared() + "/golden/tokenizers/" + name + "/tokenizer.json");
}

void CountBytes(benchmark::State& state) {
  size_t num_bytes = 0;
  for (const std::string& text : Texts()) num_bytes += text.size();
  const auto total = static_cast<int64_t>(num_bytes) * state.iterations();
  state.SetBytesProcessed(total);
  state.counters["times_reference"] = benchmark::Counter(
      static_cast<double>(total) / kReferenceBytesPerSecond, benchmark::Counter::kIsRate);
}

void BM_Encode(benchmark::State& state, const std::string& name, bool offsets) {
  const auto tokenizer = Tokenizer::FromJson(TokenizerJson(name), name);
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  std::vector<int32_t> ids;
  std::vector<ByteRange> ranges;
  for (auto _ : state) {
    for (const std::string& text : Texts()) {
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
  CountBytes(state);
}

void BM_Decode(benchmark::State& state, const std::string& name) {
  const auto tokenizer = Tokenizer::FromJson(TokenizerJson(name), name);
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  std::vector<std::vector<int32_t>> all;
  for (const std::string& text : Texts()) (*tokenizer)->Encode(text, &all.emplace_back());
  for (auto _ : state) {
    for (const auto& ids : all) benchmark::DoNotOptimize((*tokenizer)->Decode(ids, false));
  }
  CountBytes(state);
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
          ->Unit(benchmark::kMillisecond);
    };
    add("Encode", BM_Encode, false);
    add("EncodeWithOffsets", BM_Encode, true);
    add("Decode", BM_Decode);
    add("Load", BM_Load);
  }
  return true;
}();

}  // namespace
}  // namespace liquid
