// Job files that ship with the repository, and the README's table of their keys.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/job_fields.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;

// Words of the README for what has no default of its own.
bool MeansNoDefault(const std::string& words) {
  return words.empty() || absl::StartsWith(words, "required") || words == "none" ||
         words == "the file's name" || words == "the tokenizer's" || words == "`model.from`";
}

// key -> default, as the README's table of the job file says.
std::map<std::string, std::string> ReadmeDefaults() {
  std::map<std::string, std::string> defaults;
  std::ifstream readme("README.md");
  bool in_section = false;
  for (std::string line; std::getline(readme, line);) {
    if (absl::StartsWith(line, "## ")) in_section = line == "## The job file";
    if (!in_section || !absl::StartsWith(line, "| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, " |");
    const std::string key(absl::StripSuffix(absl::StripPrefix(cells[0], "| `"), "`"));
    defaults[key] = std::string(absl::StripPrefix(cells[1], " "));
  }
  return defaults;
}

// Models and data that users bring: next to configs/.
bool IsOfTheUser(const fs::path& path) {
  const std::string relative = path.lexically_relative(fs::current_path()).string();
  return absl::StartsWith(relative, "models/") || absl::StartsWith(relative, "datasets/");
}

TEST(JobFiles, EveryShippedOneLoadsAndNamesFilesThatAreThere) {
  int num_files = 0;
  for (const auto& entry : fs::directory_iterator("configs")) {
    if (entry.path().extension() != ".yaml") continue;
    ++num_files;
    const auto job = LoadJob(entry.path().string(), {});
    ASSERT_TRUE(job.ok()) << job.status();
    std::vector<std::string> paths = {job->model().tokenizer() + "/tokenizer.json"};
    if (!job->model().config().empty()) paths.push_back(job->model().config());
    for (const std::string& path : job->data().train()) paths.push_back(path);
    for (const std::string& path : job->data().eval()) paths.push_back(path);
    if (!job->data().chat_template().empty()) paths.push_back(job->data().chat_template());
    for (const std::string& path : paths) {
      if (IsOfTheUser(path)) continue;
      EXPECT_TRUE(fs::exists(path)) << entry.path() << " names " << path;
    }
  }
  EXPECT_GE(num_files, 5);
}

TEST(JobFiles, TheReadmeListsEveryKeyWithItsDefault) {
  std::map<std::string, std::string> defaults = ReadmeDefaults();
  for (const JobField& field : JobFields()) {
    const std::string path(field.path);
    const auto it = defaults.find(path);
    if (it == defaults.end()) {
      ADD_FAILURE() << "README.md lacks " << path;
      continue;
    }
    const std::string words = it->second;
    defaults.erase(it);
    if (field.default_yaml == "null") {
      EXPECT_TRUE(MeansNoDefault(words)) << path << " has no default, README.md says " << words;
    } else {
      EXPECT_EQ(words, std::string(field.default_yaml)) << path;
    }
  }
  for (const auto& [key, words] : defaults) ADD_FAILURE() << "no job has the key " << key;
}

}  // namespace
}  // namespace liquid
