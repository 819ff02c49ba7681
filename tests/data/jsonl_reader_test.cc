#include "data/jsonl_reader.h"

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string WriteTemporary(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "jsonl_reader_test_", name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

// "source:number:text" of every line.
std::vector<std::string> ReadAll(JsonlReader* reader) {
  std::vector<std::string> lines;
  while (true) {
    const auto line = reader->Next();
    EXPECT_THAT(line, IsOk());
    if (!line.ok() || !line->has_value()) return lines;
    const JsonlReader::Line& got = **line;
    lines.push_back(absl::StrCat(got.source, ":", got.number, ":",
                                 got.too_long ? "TOO LONG" : std::string(got.text)));
  }
}

TEST(JsonlReaderTest, NumbersLinesPerFileAndPassesOverBlankOnes) {
  JsonlReader reader({WriteTemporary("a", "one\n\n  \t\r\nfour\r\n"), WriteTemporary("empty", ""),
                      WriteTemporary("b", "\nlast without end")});
  EXPECT_THAT(ReadAll(&reader), ElementsAre("0:1:one", "0:4:four\r", "2:2:last without end"));
  ASSERT_EQ(reader.sources().size(), 3u);
  EXPECT_EQ(reader.sources()[0].digest, HashBytes("one\n\n  \t\r\nfour\r\n"));
  EXPECT_EQ(reader.sources()[1].num_bytes, 0);
  EXPECT_EQ(reader.num_bytes_read(), 33);
}

TEST(JsonlReaderTest, LeavesOutTheByteOrderMark) {
  JsonlReader reader({WriteTemporary("bom", "\xEF\xBB\xBFone\ntwo\n")});
  EXPECT_THAT(ReadAll(&reader), ElementsAre("0:1:one", "0:2:two"));
}

TEST(JsonlReaderTest, ReadsLinesAcrossChunks) {
  std::string content;
  std::vector<std::string> expected;
  for (int i = 1; i <= 400; ++i) {
    const std::string text(static_cast<size_t>(i) * 37, static_cast<char>('a' + i % 26));
    absl::StrAppend(&content, text, "\n");
    expected.push_back(absl::StrCat("0:", i, ":", text));
  }
  ASSERT_GT(content.size(), size_t{2} << 20);  // more than two chunks
  JsonlReader reader({WriteTemporary("chunks", content)});
  EXPECT_EQ(ReadAll(&reader), expected);
  EXPECT_EQ(reader.sources()[0].digest, HashBytes(content));
}

TEST(JsonlReaderTest, PassesOverLinesThatAreTooLong) {
  const std::string fits(JsonlReader::kMaxLineBytes, 'x');
  JsonlReader reader({WriteTemporary(
      "long", absl::StrCat("one\n", fits, "\n", fits, "y\n", fits, fits, "z\nfive\n", fits, "w"))});
  EXPECT_THAT(ReadAll(&reader), ElementsAre("0:1:one", absl::StrCat("0:2:", fits), "0:3:TOO LONG",
                                            "0:4:TOO LONG", "0:5:five", "0:6:TOO LONG"));
}

TEST(JsonlReaderTest, NamesAFileThatIsMissing) {
  JsonlReader reader({"/nowhere/at/all.jsonl"});
  EXPECT_THAT(reader.Next(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/at/all.jsonl")));
  EXPECT_THAT(HashSource("/nowhere/at/all.jsonl"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere")));
}

TEST(HashSourceTest, IsTheHashOfTheContent) {
  const std::string content(3 << 20, 'q');
  const auto source = HashSource(WriteTemporary("hash", content));
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ(source->digest, HashBytes(content));
  EXPECT_EQ(source->num_bytes, 3 << 20);
}

}  // namespace
}  // namespace liquid
