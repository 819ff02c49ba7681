#include "tests/chaos/phase_marks.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/file.h"

namespace liquid::testing {
namespace {

namespace fs = std::filesystem;

// A save is not part of a step's order, so its marks are looked at by themselves.
constexpr std::array<const char*, kNumPhases> kMarks = {"slot", "between", "reduce", "applied",
                                                        "saving"};

bool IsOfSave(std::string_view mark) { return mark == "saving" || mark == "saved"; }

std::string LogPath(const std::string& prefix, pid_t pid) { return absl::StrCat(prefix, ".", pid); }

// Nothing for a line of which a part is missing.
std::optional<PhaseMark> ParseMark(const std::string& line) {
  const std::vector<std::string> fields = absl::StrSplit(line, ' ');
  PhaseMark mark;
  if (fields.size() != 4 || !absl::SimpleAtoi(fields[0], &mark.unix_micros) ||
      !absl::SimpleAtoi(fields[2], &mark.step) || !absl::SimpleAtoi(fields[3], &mark.slot)) {
    return std::nullopt;
  }
  mark.phase = fields[1];
  return mark;
}

std::string ReadTail(const std::string& path) {
  constexpr int64_t kTail = 1024;
  const auto file = File::OpenForRead(path);
  if (!file.ok()) return "";
  const int64_t size = file->Size().value_or(0);
  std::string tail(static_cast<size_t>(std::min(size, kTail)), '\0');
  return file->ReadAt(size - static_cast<int64_t>(tail.size()), tail.data(), tail.size()).ok()
             ? tail
             : "";
}

}  // namespace

std::vector<pid_t> LoggingProcesses(const std::string& prefix) {
  std::vector<pid_t> pids;
  const std::string name = fs::path(prefix).filename().string() + ".";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::path(prefix).parent_path(), ignored)) {
    const std::string file = entry.path().filename().string();
    pid_t pid = 0;
    if (file.starts_with(name) && absl::SimpleAtoi(file.substr(name.size()), &pid)) {
      pids.push_back(pid);
    }
  }
  return pids;
}

std::map<pid_t, std::vector<PhaseMark>> ReadMarks(const std::string& prefix) {
  std::map<pid_t, std::vector<PhaseMark>> marks;
  for (const pid_t pid : LoggingProcesses(prefix)) {
    const std::string text = ReadFile(LogPath(prefix, pid)).value_or("");
    const std::vector<std::string> lines = absl::StrSplit(text, '\n');
    for (const std::string& line : lines) {
      if (std::optional<PhaseMark> mark = ParseMark(line)) marks[pid].push_back(*std::move(mark));
    }
  }
  return marks;
}

bool IsInPhase(const std::string& prefix, pid_t pid, Phase phase) {
  const std::string tail = ReadTail(LogPath(prefix, pid));
  const std::vector<std::string> lines = absl::StrSplit(tail, '\n');
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    const std::optional<PhaseMark> mark = ParseMark(*line);
    if (!mark.has_value() || IsOfSave(mark->phase) != (phase == Phase::kCheckpoint)) continue;
    return mark->phase == kMarks[static_cast<size_t>(phase)];
  }
  return false;
}

bool IsStill(pid_t pid) {
  const std::string stat = ReadFile(absl::StrCat("/proc/", pid, "/stat")).value_or("");
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return true;
  const char state = stat[name_end + 2];
  return state == 'Z' || state == 'X' || state == 'T';
}

bool WaitUntilStill(pid_t pid, absl::Time deadline) {
  while (!IsStill(pid)) {
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

}  // namespace liquid::testing
