#include "bench/data/debian_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "data/unicode.h"
#include "tests/testing/gzip_file.h"

namespace liquid {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMinDocumentBytes = 200;
constexpr size_t kMaxDocumentBytes = 32 << 10;
constexpr std::array<const char*, 3> kRoots = {"/usr/share/common-licenses", "/usr/share/doc",
                                               "/usr/share/man"};
constexpr std::array<std::string_view, 9> kNotText = {
    ".pdf.gz", ".ps.gz", ".json.gz", ".tar.gz", ".png", ".gif", ".jpg", ".css", ".svg"};

enum Kind : size_t { kLicence, kManual, kOther, kNumKinds };
using Files = std::array<std::vector<std::pair<uint64_t, std::string>>, kNumKinds>;

Kind KindOf(std::string_view path) {
  if (path.starts_with(kRoots[0]) || path.ends_with("/copyright")) return kLicence;
  return path.starts_with(kRoots[2]) ? kManual : kOther;
}

// All files, each kind in the order of a hash of their names: an even mix of packages.
Files ListFiles() {
  Files files;
  for (const char* root : kRoots) {
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(
             root, fs::directory_options::skip_permission_denied, error)) {
      const std::string path = entry.path().string();
      const bool is_text = std::none_of(kNotText.begin(), kNotText.end(),
                                        [&](std::string_view end) { return path.ends_with(end); });
      if (!is_text || entry.is_symlink(error) || !entry.is_regular_file(error)) continue;
      files[KindOf(path)].emplace_back(HashBytes(path).low, path);
    }
  }
  for (auto& kind : files) std::sort(kind.begin(), kind.end());
  return files;
}

// The beginning of a file, cut at a character; "" if it is no text.
std::string ReadDocument(const std::string& path) {
  std::string text = testing::ReadPlainOrGzip(path);
  if (text.size() > kMaxDocumentBytes) {
    size_t end = kMaxDocumentBytes;
    while (end > 0 && IsContinuation(text[end])) --end;
    text.resize(end);
  }
  const bool is_text = IsValidUtf8(text) && text.find('\0') == std::string::npos;
  return is_text && text.size() >= kMinDocumentBytes ? text : "";
}

}  // namespace

std::vector<std::string> DebianDocuments(size_t num_bytes) {
  const Files files = ListFiles();
  std::array<size_t, kNumKinds> next = {};
  std::array<size_t, kNumKinds> bytes = {};
  std::vector<std::string> documents;
  std::unordered_set<std::string> seen;  // many packages have the same copyright file
  for (size_t total = 0; total < num_bytes;) {
    size_t kind = kNumKinds;  // the one with the least text so far that has more
    for (size_t k = 0; k < kNumKinds; ++k) {
      if (next[k] == files[k].size()) continue;
      if (kind == kNumKinds || bytes[k] < bytes[kind]) kind = k;
    }
    if (kind == kNumKinds) break;
    std::string text = ReadDocument(files[kind][next[kind]++].second);
    if (text.empty() || !seen.insert(text).second) continue;
    if (text.size() > num_bytes - total) {
      size_t end = num_bytes - total;
      while (end > 0 && IsContinuation(text[end])) --end;
      text.resize(end);
      num_bytes = total + end;
    }
    bytes[kind] += text.size();
    total += text.size();
    documents.push_back(std::move(text));
  }
  return documents;
}

}  // namespace liquid
