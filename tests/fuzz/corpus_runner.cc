// Gives a fuzz target its corpus without libFuzzer: every file, then a fixed number of files
// changed at random, from a fixed seed. The input at hand stands in a file of the temporary
// directory, so that a crash leaves its reproducer behind.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/fuzz_target.h"

namespace liquid {
namespace {

constexpr int kNumChanged = 2000;
constexpr size_t kMaxChangedBytes = 1 << 16;

std::vector<std::string> Corpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(LIQUID_FUZZ_CORPUS)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

void Feed(const std::string& input) {
  static const std::string path = testing::TempDir() + "fuzz_input_" + LIQUID_FUZZ_NAME;
  std::ofstream(path, std::ios::binary) << input;
  // A copy of exactly this size: the address sanitizer sees one byte too far.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  EXPECT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0) << "the input is in " << path;
  std::filesystem::remove(path);
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& corpus) : corpus_(corpus) {}

  std::string Next() {
    std::string input = corpus_[Below(corpus_.size())];
    for (size_t n = 1 + Below(4); n > 0; --n) Change(&input);
    if (input.size() > kMaxChangedBytes) input.resize(kMaxChangedBytes);
    return input;
  }

 private:
  size_t Below(size_t end) { return end == 0 ? 0 : random_() % end; }

  void Change(std::string* input) {
    const std::string& other = corpus_[Below(corpus_.size())];
    const size_t at = Below(input->size());
    const size_t length = 1 + Below(32);
    switch (input->empty() ? 4 : Below(6)) {
      case 0:
        (*input)[at] = static_cast<char>((*input)[at] ^ (1 << Below(8)));
        break;
      case 1:
        (*input)[at] = static_cast<char>(Below(256));
        break;
      case 2:
        input->erase(at, length);
        break;
      case 3:
        input->resize(at);
        break;
      case 4:
        input->insert(at, other.substr(Below(other.size()), length));
        break;
      default:
        input->insert(at, input->substr(at, length));
        break;
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937 random_{42};
};

TEST(Corpus, EveryFileIsTakenWithoutHarm) {
  const std::vector<std::string> corpus = Corpus();
  ASSERT_FALSE(corpus.empty());
  for (const std::string& input : corpus) Feed(input);
}

TEST(Corpus, FilesChangedAtRandomAreTakenWithoutHarm) {
  const std::vector<std::string> corpus = Corpus();
  ASSERT_FALSE(corpus.empty());
  Mutator mutator(corpus);
  for (int i = 0; i < kNumChanged; ++i) Feed(mutator.Next());
}

}  // namespace
}  // namespace liquid
