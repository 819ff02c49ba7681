#include "data/prepare.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "data/conversation.h"
#include "data/example_encoder.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kTokenizer = "configs/quickstart/tokenizer";
constexpr const char* kGood =
    R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})";

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() {
    folder_ = absl::StrCat(::testing::TempDir(), "prepare_test_",
                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    EXPECT_THAT(RemoveRecursively(folder_), IsOk());
    EXPECT_THAT(MakeDirectories(folder_), IsOk());
  }

  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = JoinPath(folder_, name);
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  PrepareOptions Options(std::vector<std::string> files) {
    PrepareOptions options;
    options.files = std::move(files);
    options.sequence_length = 128;
    options.tokenizer = kTokenizer;
    options.cache = JoinPath(folder_, "cache");
    return options;
  }

  std::vector<std::string> CacheFiles() { return *ListDirectory(JoinPath(folder_, "cache")); }

  std::string folder_;
};

// Every document of the rows is, token for token, what its line says; every line is there once.
TEST_F(PrepareTest, RowsHoldWhatTheLinesSay) {
  const std::string train = "configs/quickstart/train.jsonl";
  const std::string eval = "configs/quickstart/eval.jsonl";
  for (const bool packing : {true, false}) {
    PrepareOptions options = Options({train, eval});
    options.packing = packing;
    options.sequence_length = 512;
    const auto report = PrepareDataset(options);
    ASSERT_THAT(report, IsOk());
    const auto dataset = Dataset::Open(report->path);
    ASSERT_THAT(dataset, IsOk());
    const auto encoder = ExampleEncoder::Load(kTokenizer, "");
    ASSERT_THAT(encoder, IsOk());
    std::map<std::string, Document> expected;
    LossWeights weights;
    for (const std::string& path : {train, eval}) {
      std::ifstream file(path);
      int number = 0;
      for (std::string line; std::getline(file, line);) {
        const auto document = (*encoder)->Encode(*ParseExample(line), &weights);
        ASSERT_THAT(document, IsOk());
        expected[absl::StrCat(path, ":", ++number)] = *document;
      }
    }
    EXPECT_EQ(report->num_examples, static_cast<int64_t>(expected.size()));
    EXPECT_EQ(report->num_documents, report->num_examples);
    int64_t targets = 0;
    for (int64_t r = 0; r < dataset->num_rows(); ++r) {
      const Dataset::Row row = dataset->row(r);
      EXPECT_TRUE(packing || row.documents.size() == 1);
      for (const DatasetDocument& piece : row.documents) {
        const auto found = expected.find(dataset->Describe(piece));
        ASSERT_NE(found, expected.end()) << dataset->Describe(piece);
        const Document& document = found->second;
        ASSERT_EQ(static_cast<size_t>(piece.num_tokens), document.tokens.size());
        for (size_t t = 0; t < document.tokens.size(); ++t) {
          EXPECT_EQ(row.tokens[piece.begin + t], document.tokens[t]);
          EXPECT_EQ(row.target_mask[piece.begin + t], t == 0 ? 0 : document.trained[t]);
        }
        targets += NumTargets(document);
        expected.erase(found);
      }
    }
    EXPECT_TRUE(expected.empty());
    EXPECT_EQ(report->num_target_tokens, targets);
    EXPECT_EQ(dataset->num_target_tokens(), targets);
    EXPECT_TRUE(!packing || report->fill > 0.95) << report->fill;
  }
}

TEST_F(PrepareTest, SourcesOfAMixtureShareNoRow) {
  const auto many = [](int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) absl::StrAppend(&lines, kGood, "\n");
    return lines;
  };
  // 20 tokens a line or so: 5 and more share a row.
  PrepareOptions options = Options({Write("a.jsonl", many(8)), Write("b.jsonl", many(3)),
                                    Write("empty.jsonl", ""), Write("c.jsonl", many(4))});
  options.sources = {{"first", 1}, {"second", 2}, {"third", 1}};
  const auto report = PrepareDataset(options);
  ASSERT_THAT(report, IsOk());
  const auto dataset = Dataset::Open(report->path);
  ASSERT_THAT(dataset, IsOk());
  ASSERT_EQ(dataset->mixture().size(), 3u);
  EXPECT_EQ(dataset->mixture(), report->mixture);
  int64_t row = 0;
  int64_t tokens = 0;
  for (size_t i = 0; i < 3; ++i) {
    const MixturePart& part = dataset->mixture()[i];
    EXPECT_EQ(part.name, options.sources[i].name);
    EXPECT_EQ(part.num_documents, (std::vector<int64_t>{8, 3, 4})[i]);
    tokens += part.num_tokens;
    for (int64_t r = 0; r < part.num_rows; ++r, ++row) {
      for (const DatasetDocument& document : dataset->row(row).documents) {
        EXPECT_EQ(document.source, i == 2 ? 3 : static_cast<int>(i));
      }
    }
  }
  EXPECT_EQ(row, dataset->num_rows());
  EXPECT_EQ(tokens, dataset->num_tokens());
  EXPECT_THAT(PrepareReportText(*report), HasSubstr("source second: 3 documents in 1 rows; "));

  const auto again = PrepareDataset(options);
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->reused);
  EXPECT_EQ(again->mixture, report->mixture);
  options.sources = {};
  const auto plain = PrepareDataset(options);
  ASSERT_THAT(plain, IsOk());
  EXPECT_FALSE(plain->reused);
  EXPECT_LT(plain->num_rows, report->num_rows);
  options.sources = {{"first", 2}, {"hollow", 1}, {"third", 1}};
  EXPECT_THAT(PrepareDataset(options).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("data.mix: hollow has nothing to train on")));
}

TEST_F(PrepareTest, ShowsTheFirstSampleWithItsMask) {
  const auto report = PrepareDataset(Options({Write("a.jsonl", kGood)}));
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->first_sample,
            "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
            "[[b<|im_end|>]]\n");
  EXPECT_THAT(PrepareReportText(*report),
              AllOf(HasSubstr("1 examples, 1 documents in 1 rows"), HasSubstr("[[b<|im_end|>]]")));
  const auto json = nlohmann::json::parse(PrepareReportJson(*report), nullptr, false);
  EXPECT_EQ(json["rows"], 1);
  EXPECT_EQ(json["path"], report->path);
}

TEST_F(PrepareTest, DoesNothingTheSecondTime) {
  const PrepareOptions options =
      Options({Write("a.jsonl", absl::StrCat(kGood, "\n", "bad\n", kGood))});
  PrepareOptions tolerant = options;
  tolerant.max_bad_rows = 3;
  const auto first = PrepareDataset(tolerant);
  ASSERT_THAT(first, IsOk());
  EXPECT_FALSE(first->reused);
  const auto written = std::filesystem::last_write_time(first->path);
  int num_calls = 0;
  const auto second = PrepareDataset(tolerant, [&](const PrepareProgress&) {
    ++num_calls;
    return absl::OkStatus();
  });
  ASSERT_THAT(second, IsOk());
  EXPECT_TRUE(second->reused);
  EXPECT_EQ(num_calls, 0);
  EXPECT_EQ(second->path, first->path);
  EXPECT_EQ(std::filesystem::last_write_time(second->path), written);
  EXPECT_EQ(CacheFiles().size(), 1u);
  // What it is told is the same, bad rows included.
  PrepareReport expected = *first;
  expected.reused = true;
  EXPECT_EQ(PrepareReportJson(*second), PrepareReportJson(expected));
  EXPECT_THAT(second->bad_rows, ElementsAre(HasSubstr("a.jsonl:2: not JSON")));
}

TEST_F(PrepareTest, PreparesAgainWhatChanged) {
  const std::string file = Write("a.jsonl", absl::StrCat(kGood, "\n"));
  const PrepareOptions options = Options({file});
  const auto original = PrepareDataset(options);
  ASSERT_THAT(original, IsOk());
  std::vector<PrepareOptions> changed(8, options);
  changed[0].sequence_length = 64;
  changed[1].packing = false;
  changed[2].overlong = OverlongPolicy::kDrop;
  changed[3].files.push_back(file);
  changed[4].files[0] = Write("moved.jsonl", absl::StrCat(kGood, "\n"));
  changed[5].chat_template =
      Write("t.jinja",
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
            "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}"
            "<|im_start|>assistant\n{% endif %}");
  changed[6].loss.loss_on = LossOn::kAll;
  changed[7].loss.stop_token = false;
  for (size_t i = 0; i < changed.size(); ++i) {
    const auto report = PrepareDataset(changed[i]);
    ASSERT_THAT(report, IsOk()) << i;
    EXPECT_FALSE(report->reused) << i;
    EXPECT_NE(report->path, original->path) << i;
    EXPECT_EQ(report->digest == original->digest, i == 1 || i == 2 || i == 4) << i;
  }
  Write("a.jsonl", absl::StrCat(kGood, "\n", kGood, "\n"));
  const auto longer = PrepareDataset(options);
  ASSERT_THAT(longer, IsOk());
  EXPECT_FALSE(longer->reused);
  EXPECT_NE(longer->digest, original->digest);
  Write("a.jsonl", absl::StrCat(kGood, "\n"));
  EXPECT_TRUE(PrepareDataset(options)->reused);
}

TEST_F(PrepareTest, MakesADamagedFileAgain) {
  const PrepareOptions options = Options({Write("a.jsonl", kGood)});
  const auto first = PrepareDataset(options);
  ASSERT_THAT(first, IsOk());
  std::filesystem::resize_file(first->path, 300);
  const auto second = PrepareDataset(options);
  ASSERT_THAT(second, IsOk());
  EXPECT_FALSE(second->reused);
  EXPECT_EQ(second->digest, first->digest);
  EXPECT_TRUE(PrepareDataset(options)->reused);
}

TEST_F(PrepareTest, RefusesTheFirstBadRowByFileAndLine) {
  const std::string good = Write("good.jsonl", absl::StrCat(kGood, "\n"));
  for (const auto& [line, reason] : std::map<std::string, std::string>{
           {"{\"a\": 1}", "none of 'messages'"},
           {"{\"text\"", "not JSON"},
           {"{\"text\": \"\xFF\"}", "not UTF-8"},
           {R"({"messages": []})", "'messages' is empty"},
           {R"({"messages": [{"role": "user", "content": "a"}]})", "no assistant message"},
           {std::string((16 << 20) + 1, 'x'), "longer than 16 MiB"}}) {
    const std::string bad =
        Write("bad.jsonl", absl::StrCat(kGood, "\n\n", line, "\n", kGood, "\n"));
    EXPECT_THAT(PrepareDataset(Options({good, bad})),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(bad + ":3: "), HasSubstr(reason))));
    EXPECT_THAT(CacheFiles(), ElementsAre());  // nothing is left behind
  }
}

TEST_F(PrepareTest, ToleratesAsManyBadRowsAsAsked) {
  const std::string file =
      Write("a.jsonl", absl::StrCat(kGood, "\nx\n", kGood, "\n{}\n", kGood, "\n"));
  PrepareOptions options = Options({file});
  options.max_bad_rows = 1;
  EXPECT_THAT(PrepareDataset(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(":4: none of"), HasSubstr("tolerates 1"),
                             HasSubstr(":2: not JSON"))));
  options.max_bad_rows = 2;
  const auto report = PrepareDataset(options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->num_bad_rows, 2);
  EXPECT_EQ(report->num_examples, 3);
  EXPECT_THAT(report->bad_rows, ElementsAre(HasSubstr(":2: not JSON"), HasSubstr(":4: none of")));
}

TEST_F(PrepareTest, RefusesATemplateThatNeverTrainsTheStopToken) {
  PrepareOptions options = Options({Write("a.jsonl", kGood)});
  options.chat_template = Write("t.jinja", "{% for m in messages %}{{ m.content }}\n{% endfor %}");
  EXPECT_THAT(PrepareDataset(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("would never learn to stop")));
}

TEST_F(PrepareTest, CountsWhatIsTooLong) {
  std::string text;
  for (int i = 0; i < 200; ++i) absl::StrAppend(&text, "word", i, " ");
  const std::string file = Write("a.jsonl", absl::StrCat(kGood, "\n{\"text\": \"", text,
                                                         "\"}\n{\"messages\": [{\"role\": "
                                                         "\"user\", \"content\": \"",
                                                         text,
                                                         "\"}, {\"role\": \"assistant\", "
                                                         "\"content\": \"b\"}]}\n"));
  PrepareOptions options = Options({file});
  const auto truncated = PrepareDataset(options);
  ASSERT_THAT(truncated, IsOk());
  EXPECT_EQ(truncated->overlong.num_truncated, 2);
  EXPECT_EQ(truncated->overlong.num_untrained, 1);  // its answer was cut off
  EXPECT_EQ(truncated->num_documents, 2);
  EXPECT_THAT(PrepareReportText(*truncated), HasSubstr("longer than a row: 2 (2 truncated"));
  options.overlong = OverlongPolicy::kSplit;
  const auto split = PrepareDataset(options);
  ASSERT_THAT(split, IsOk());
  EXPECT_EQ(split->overlong.num_split, 2);
  EXPECT_GT(split->num_target_tokens, truncated->num_target_tokens);
  options.overlong = OverlongPolicy::kDrop;
  EXPECT_EQ(PrepareDataset(options)->overlong.num_dropped, 2);
  options.overlong = OverlongPolicy::kError;
  EXPECT_THAT(PrepareDataset(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a.jsonl:2: ")));
}

TEST_F(PrepareTest, StopsWhenAskedTo) {
  const auto report = PrepareDataset(
      Options({"configs/quickstart/train.jsonl"}), [](const PrepareProgress& progress) {
        EXPECT_GT(progress.num_bytes, 0);
        return progress.num_examples > 300 ? absl::CancelledError("signal") : absl::OkStatus();
      });
  EXPECT_THAT(report, StatusIs(absl::StatusCode::kCancelled, "signal"));
  EXPECT_THAT(CacheFiles(), ElementsAre());
}

TEST_F(PrepareTest, RefusesDataWithoutAnythingToTrain) {
  EXPECT_THAT(PrepareDataset(Options({Write("empty.jsonl", "\n")})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nothing to train on")));
  EXPECT_THAT(PrepareDataset(Options({JoinPath(folder_, "absent.jsonl")})),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent.jsonl")));
  EXPECT_THAT(PrepareDataset(Options({})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no data files")));
}

}  // namespace
}  // namespace liquid
