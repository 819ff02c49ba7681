#include "data/tokenizer.h"

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/tokenizer_golden.h"
#include "tests/testing/gzip_file.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ReadPlainOrGzip;
using testing::StatusIs;

const std::string kGolden = "tests/data/golden/lfm2_surrogate/";

const Tokenizer& GoldenTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer =
      *Tokenizer::FromJson(ReadPlainOrGzip(kGolden + "tokenizer.json"), kGolden);
  return *tokenizer;
}

// In the manner of sentencepiece: spaces are marks, unknown characters become bytes.
std::string SentencePieceJson() {
  std::string json = R"({
    "normalizer": {"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},
                   {"type":"Replace","pattern":{"String":" "},"content":"_"}]},
    "added_tokens": [{"id":1,"content":"<s>","special":true,"normalized":false},
                     {"id":300,"content":"go on","normalized":true}],
    "post_processor": {"type":"TemplateProcessing",
      "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
      "special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
    "decoder": {"type":"Sequence","decoders":[
      {"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},
      {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
    "model": {"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,
      "merges":[["_","h"],["_h","i"]],
      "vocab":{"<unk>":0,"<s>":1,"_":2,"h":3,"i":4,"_h":5,"_hi":6)";
  const std::string digits = "0123456789ABCDEF";
  for (size_t b = 0; b < 256; ++b) {
    json += ",\"<0x" + digits.substr(b / 16, 1) + digits.substr(b % 16, 1) +
            ">\":" + std::to_string(10 + b);
  }
  return json + "}}}";
}

TEST(TokenizerTest, IsTheReferenceOnTheGoldenCases) {
  EXPECT_GT(CheckEncodeCases(GoldenTokenizer(), ReadPlainOrGzip(kGolden + "cases.jsonl")), 300);
  EXPECT_GT(CheckDecodeCases(GoldenTokenizer(), ReadPlainOrGzip(kGolden + "decode.jsonl")), 70);
}

TEST(TokenizerTest, NamesTokensAndIds) {
  const Tokenizer& tokenizer = GoldenTokenizer();
  EXPECT_EQ(tokenizer.vocab_size(), 8192);
  EXPECT_EQ(tokenizer.TokenToId("<|im_start|>"), 6);
  EXPECT_EQ(tokenizer.IdToToken(6), "<|im_start|>");
  EXPECT_TRUE(tokenizer.is_special(6));
  EXPECT_FALSE(tokenizer.is_special(100));
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_EQ(tokenizer.TokenToId("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.IdToToken(8192), "");
  EXPECT_EQ(tokenizer.IdToToken(-5), "");
  EXPECT_EQ(tokenizer.Decode({-5, 8192, 6}, false), "<|im_start|>");
}

TEST(TokenizerTest, AppendsToWhatIsThere) {
  std::vector<int32_t> ids = {42};
  GoldenTokenizer().Encode("", &ids);
  EXPECT_THAT(ids, ElementsAre(42));
  GoldenTokenizer().Encode("<|im_start|>", {.add_special_tokens = true}, &ids);
  EXPECT_THAT(ids, ElementsAre(42, 1, 6));
}

TEST(TokenizerTest, OffsetsAreBytesOfTheTextAsGiven) {
  std::vector<int32_t> ids;
  std::vector<ByteRange> ranges;
  const std::string text = "\xFFls\xC3\xA9<|im_end|>";
  GoldenTokenizer().EncodeWithOffsets(text, {.add_special_tokens = true}, &ids, &ranges);
  ASSERT_EQ(ids.size(), ranges.size());
  EXPECT_EQ(ranges.front(), (ByteRange{0, 0}));
  EXPECT_EQ(ranges[1], (ByteRange{0, 1}));  // U+FFFD for the first byte
  EXPECT_EQ(ranges.back(), (ByteRange{5, 15}));
  for (size_t i = 1; i < ranges.size(); ++i) EXPECT_GE(ranges[i].begin, ranges[i - 1].begin);
}

TEST(TokenizerTest, SentencePieceFilesWork) {
  const auto tokenizer = Tokenizer::FromJson(SentencePieceJson(), "sp.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::vector<int32_t> ids;
  std::vector<ByteRange> ranges;
  (*tokenizer)->EncodeWithOffsets("hi h\xC3\xA9", {.add_special_tokens = true}, &ids, &ranges);
  EXPECT_THAT(ids, ElementsAre(1, 6, 5, 10 + 0xC3, 10 + 0xA9));
  EXPECT_THAT(ranges, ElementsAre(ByteRange{0, 0}, ByteRange{0, 2}, ByteRange{2, 4},
                                  ByteRange{4, 6}, ByteRange{4, 6}));
  EXPECT_EQ((*tokenizer)->Decode(ids, true), "hi h\xC3\xA9");
  EXPECT_EQ((*tokenizer)->vocab_size(), 301);
  // A normalized token is looked for as the normalizer writes it, with its own prefix.
  ids.clear();
  (*tokenizer)->Encode("go on", &ids);
  EXPECT_THAT(ids, ElementsAre(300));
}

TEST(TokenizerTest, ThreadsEncodeTheSame) {
  const std::string text = ReadPlainOrGzip(kGolden + "cases.jsonl").substr(0, 20000);
  std::vector<int32_t> expected;
  GoldenTokenizer().Encode(text, &expected);
  std::vector<std::vector<int32_t>> results(4);
  std::vector<std::thread> threads;
  for (auto& ids : results) {
    threads.emplace_back([&ids, &text] {
      for (int i = 0; i < 3; ++i) {
        ids.clear();
        GoldenTokenizer().Encode(text, &ids);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& ids : results) EXPECT_EQ(ids, expected);
}

TEST(StreamDecoderTest, PiecesAreWholeCharactersAndJoinToTheText) {
  const Tokenizer& tokenizer = GoldenTokenizer();
  const std::string text = "ls \xF0\x9F\x98\x80\xE4\xBD\xA0 \xC3\xA9<|im_end|>done \xE2\x82";
  std::vector<int32_t> ids;
  tokenizer.Encode(text, &ids);
  for (const bool skip : {false, true}) {
    StreamDecoder stream(&tokenizer, skip);
    std::string joined;
    for (const int32_t id : ids) {
      const std::string piece = stream.Add(id);
      EXPECT_EQ(piece.find("\xEF\xBF\xBD"), std::string::npos) << piece;
      joined += piece;
    }
    joined += stream.Finish();
    EXPECT_EQ(joined, tokenizer.Decode(ids, skip));
    EXPECT_EQ(stream.Finish(), "");
  }
}

TEST(StreamDecoderTest, KeepsSpacesThatTheDecoderStripsAtTheStartOnly) {
  const auto tokenizer = Tokenizer::FromJson(SentencePieceJson(), "sp.json");
  ASSERT_TRUE(tokenizer.ok());
  for (const std::vector<int32_t>& ids :
       {std::vector<int32_t>{1, 6, 6, 2, 2, 3, 5}, {2, 2, 6}, {10 + 0xC3, 10 + 0xA9, 6}}) {
    StreamDecoder stream(tokenizer->get(), true);
    std::string joined;
    for (const int32_t id : ids) joined += stream.Add(id);
    EXPECT_EQ(joined + stream.Finish(), (*tokenizer)->Decode(ids, true));
  }
}

TEST(StreamDecoderTest, WhatIsSkippedDoesNotCountAsHeldBack) {
  const Tokenizer& tokenizer = GoldenTokenizer();
  std::vector<int32_t> ids;
  tokenizer.Encode("\xF0\x9F\xA6\xA9", &ids);
  ASSERT_GT(ids.size(), 1u);
  StreamDecoder stream(&tokenizer, true);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(stream.Add(i % 2 == 0 ? 6 : 1 << 20), "");
  std::string joined;
  for (const int32_t id : ids) joined += stream.Add(id);
  EXPECT_EQ(joined, "\xF0\x9F\xA6\xA9");
}

TEST(StreamDecoderTest, DoesNotHoldBackForEver) {
  const Tokenizer& tokenizer = GoldenTokenizer();
  const std::vector<int32_t> lead = {tokenizer.TokenToId("\xC4\x8A").value()};
  const int32_t stray = *tokenizer.TokenToId("\xC4\xA2");  // byte 0x80
  StreamDecoder stream(&tokenizer, false);
  std::string joined;
  for (int i = 0; i < 100; ++i) joined += stream.Add(stray);
  EXPECT_GT(joined.size(), 250u);
  joined += stream.Add(lead[0]) + stream.Finish();
  EXPECT_EQ(joined.size(), 301u);
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(TokenizerTest, RefusesHostileAndUnknownFilesByName) {
  const std::string good = SentencePieceJson();
  const std::pair<std::string, std::string> kCases[] = {
      {"", "evil.json: line 1, column 1: an object was expected"},
      {"[]", "an object was expected"},
      {good.substr(0, good.size() - 1), "',' or '}'"},
      {good + "x", "text after the end"},
      {"{}", "model: is missing"},
      {"\xFF", "not UTF-8"},
      {R"({"model":{"vocab":{}}})", "model.merges: is missing"},
      {R"({"model":{"merges":[]}})", "model.vocab: is missing"},
      {R"({"model":[]})", "an object was expected"},
      {R"({"surprise":1,"model":{}})", "\"surprise\" is not implemented"},
      {R"({"model":{"type":"Unigram","vocab":{},"merges":[]}})", "the model \"Unigram\""},
      {R"({"decoder":nul,"model":{}})", "decoder: is not valid JSON"},
      {R"({"decoder":null,"decoder":null})", "\"decoder\" is there twice"},
      {R"({"model":{"vocab":{},"vocab":{}}})", "\"model.vocab\" is there twice"},
      {R"({"model":{"vocab":{"a":0,"a":1},"merges":[]}})", "\"a\": is listed twice"},
      {R"({"model":{"vocab":{"a":0,"b":0},"merges":[]}})", "id 0 is that of \"a\" already"},
      {R"({"model":{"vocab":{"a":-1},"merges":[]}})", "id -1 is not in"},
      {R"({"model":{"vocab":{"a":2000000000},"merges":[]}})", "id 2000000000 is not in"},
      {R"({"model":{"vocab":{"a":"0"},"merges":[]}})", "a whole number was expected"},
      {R"({"model":{"vocab":["a"],"merges":[]}})", "an object was expected"},
      {R"({"model":{"vocab":{"a":0},"merges":{}}})", "a list was expected"},
      {R"({"model":{"vocab":{"a":0},"merges":["a"]}})", "two tokens"},
      {R"({"model":{"vocab":{"a":0},"merges":["a a a"]}})", "two tokens"},
      {R"({"model":{"vocab":{"a":0},"merges":[["a"]]}})", "a merge"},
      {R"({"model":{"vocab":{"a":0},"merges":[["a","a","a"]]}})", "two tokens"},
      {R"({"model":{"merges":["a b"],"vocab":{"a":0}}})", "\"b\" is not in the vocabulary"},
      {R"({"model":{"vocab":{"a":0},"merges":["a a"]}})",
       "model.merges[0]: \"aa\" is not in the vocabulary"},
      {R"({"model":{"vocab":{},"merges":[],"dropout":0.1}})", "dropout: is not implemented"},
      {R"({"model":{"vocab":{},"merges":[],"unk_token":"u"}})", "\"u\" is not in the vocabulary"},
      {R"({"model":{"vocab":{},"merges":[],"end_of_word_suffix":"</w>"}})", "end_of_word_suffix"},
      {R"({"model":{"vocab":{},"merges":[],"fuse_unk":3}})", "model.fuse_unk: must be true"},
      {R"({"model":{"vocab":{},"merges":[],"magic":1}})", "model.magic: this option"},
      {Replaced(good, R"("type":"Prepend")", R"("type":"Lowercase")"),
       "normalizer.normalizers[0].type: the normalizer \"Lowercase\" is not implemented"},
      {Replaced(good, R"({"type":"Fuse"})", R"({"type":"CTC"})"), "the decoder \"CTC\""},
      {Replaced(good, "TemplateProcessing", "BertProcessing"), "post-processor \"BertProcessing\""},
      {Replaced(good, R"("ids":[1])", R"("ids":[-1])"), "must be ids of tokens"},
      {Replaced(good, R"({"Sequence":{"id":"A")", R"({"Sequence":{"id":"B")"), "single[1].id"},
      {R"({"normalizer":)" + std::string(100000, '['), "a value was expected"},
      {R"({"normalizer":)" + std::string(100000, '[') + std::string(100000, ']') +
           R"(,"model":{"vocab":{},"merges":[]}})",
       "must be an object"},
  };
  for (const auto& [json, words] : kCases) {
    const auto tokenizer = Tokenizer::FromJson(json, "evil.json");
    EXPECT_THAT(tokenizer, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("evil.json: ")));
    EXPECT_THAT(tokenizer, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << json.substr(0, 200);
  }
}

TEST(TokenizerTest, EveryTruncationIsRefused) {
  const std::string good = SentencePieceJson();
  ASSERT_TRUE(Tokenizer::FromJson(good, "good.json").ok());
  for (size_t n = 0; n < good.size(); n += 7) {
    EXPECT_FALSE(Tokenizer::FromJson(good.substr(0, n), "cut.json").ok()) << n;
  }
}

TEST(TokenizerTest, AMissingFileIsNotFound) {
  EXPECT_THAT(Tokenizer::Load("tests/data/no_such_directory"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("tokenizer.json")));
}

}  // namespace
}  // namespace liquid
