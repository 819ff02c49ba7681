#include "data/tokenizer_file.h"

#include <array>
#include <optional>
#include <set>
#include <utility>

#include "base/status.h"
#include "data/concat.h"
#include "data/json_fields.h"
#include "data/json_reader.h"
#include "data/unicode.h"

namespace liquid {
namespace {

constexpr size_t kMaxMerges = 1 << 24;
constexpr size_t kMaxTokenBytes = 1 << 16;

class FileParser {
 public:
  explicit FileParser(std::string_view text) : reader_(text), text_(text) {}

  absl::StatusOr<TokenizerFile> Parse() {
    LIQUID_RETURN_IF_ERROR(ParseTop());
    LIQUID_RETURN_IF_ERROR(ReadOptions());
    return std::move(file_);
  }

 private:
  absl::Status ParseTop() {
    std::set<std::string, std::less<>> seen;
    std::string_view key;
    reader_.BeginObject();
    while (reader_.NextKey(&key)) {
      const std::string name(key);
      if (!seen.insert(name).second) reader_.Fail(Concat("\"", name, "\" is there twice"));
      if (name == "model") {
        ParseModel();
      } else if (name == "added_tokens") {
        ParsePart(name, &file_.added_tokens);
      } else if (name == "normalizer") {
        ParsePart(name, &file_.normalizer);
      } else if (name == "pre_tokenizer") {
        ParsePart(name, &file_.pre_tokenizer);
      } else if (name == "post_processor") {
        ParsePart(name, &file_.post_processor);
      } else if (name == "decoder") {
        ParsePart(name, &file_.decoder);
      } else if (name == "version" || name == "truncation" || name == "padding") {
        reader_.SkipValue();
      } else {
        reader_.Fail(Concat("\"", name, "\" is not implemented"));
      }
      LIQUID_RETURN_IF_ERROR(status_);
    }
    reader_.ReadEnd();
    LIQUID_RETURN_IF_ERROR(reader_.status());
    if (!seen.contains("model")) return absl::InvalidArgumentError("model: is missing");
    return absl::OkStatus();
  }

  void ParsePart(const std::string& name, nlohmann::json* part) {
    const std::string_view value = reader_.SkipValue();
    if (!reader_.ok()) return;
    absl::StatusOr<nlohmann::json> parsed = ParseJson(value, name);
    if (parsed.ok()) {
      *part = *std::move(parsed);
    } else {
      status_.Update(parsed.status());
    }
  }

  void ParseModel() {
    std::string_view key;
    bool has_vocabulary = false;
    std::optional<std::string_view> early_merges;  // those that come before the vocabulary
    reader_.BeginObject();
    while (status_.ok() && reader_.NextKey(&key)) {
      const std::string name(key);
      if (options_.contains(name)) {
        reader_.Fail(Concat("\"model.", name, "\" is there twice"));
      }
      options_[name] = nullptr;
      if (name == "vocab") {
        has_vocabulary = true;
        ParseVocabulary();
      } else if (name == "merges" && has_vocabulary) {
        ParseMerges(&reader_);
      } else if (name == "merges") {
        early_merges = reader_.SkipValue();
      } else {
        ParsePart(Concat("model.", name), &options_[name]);
      }
    }
    if (!status_.ok() || !reader_.ok() || !early_merges.has_value()) return;
    JsonReader merges(*early_merges);
    ParseMerges(&merges);
    status_.Update(Annotate(merges.status(), "model.merges"));
  }

  void ParseVocabulary() {
    // A guess from the size of the rest; growing from it is cheap.
    file_.vocabulary.Reserve(text_.size() / 100, text_.size() / 8);
    std::string_view key;
    std::string token;
    reader_.BeginObject();
    while (reader_.NextKey(&key)) {
      token.assign(key);
      int64_t id = 0;
      if (!reader_.ReadInteger(&id)) return;
      if (token.size() > kMaxTokenBytes) return reader_.Fail("a token this long");
      const absl::Status added = file_.vocabulary.Add(token, id);
      if (!added.ok()) return reader_.Fail(Concat("model.vocab: ", added.message()));
    }
  }

  void ParseMerges(JsonReader* reader) {
    file_.merges.reserve(file_.vocabulary.num_tokens() * 2);
    std::string left;
    std::string right;
    reader->BeginArray();
    while (reader->NextElement()) {
      if (!ReadMerge(reader, &left, &right)) return;
      if (file_.merges.size() + waiting_.size() == kMaxMerges) {
        return reader->Fail("more merges than implemented");
      }
      waiting_.push_back({reader->place(), waiting_text_.size(), left.size(), right.size()});
      waiting_text_ += left;
      waiting_text_ += right;
      if (waiting_.size() * 3 + 3 > Vocabulary::kMaxBatch && !AddWaiting(reader)) return;
    }
    if (reader->ok()) AddWaiting(reader);
  }

  // Looks up the tokens of the merges that wait: left, right and both joined.
  bool AddWaiting(JsonReader* reader) {
    std::array<std::string_view, Vocabulary::kMaxBatch> tokens;
    std::array<int32_t, Vocabulary::kMaxBatch> ids;
    const std::string_view text = waiting_text_;
    for (size_t i = 0; i < waiting_.size(); ++i) {
      const WaitingMerge& merge = waiting_[i];
      tokens[3 * i] = text.substr(merge.begin, merge.left_bytes);
      tokens[3 * i + 1] = text.substr(merge.begin + merge.left_bytes, merge.right_bytes);
      tokens[3 * i + 2] = text.substr(merge.begin, merge.left_bytes + merge.right_bytes);
    }
    const absl::Span<const std::string_view> asked(tokens.data(), waiting_.size() * 3);
    file_.vocabulary.IdsOf(asked, ids.data());
    for (size_t i = 0; i < asked.size(); ++i) {
      if (ids[i] == Vocabulary::kNone) {
        reader->FailAt(waiting_[i / 3].place, Concat("model.merges[", file_.merges.size(), "]: \"",
                                                     asked[i], "\" is not in the vocabulary"));
        return false;
      }
      if (i % 3 == 2) file_.merges.push_back({ids[i - 2], ids[i - 1], ids[i]});
    }
    waiting_.clear();
    waiting_text_.clear();
    return true;
  }

  // ["a", "b"], or in older files "a b".
  bool ReadMerge(JsonReader* reader, std::string* left, std::string* right) {
    std::string_view text;
    if (reader->Peek() == '[') {
      reader->BeginArray();
      if (reader->NextElement() && reader->ReadString(&text)) left->assign(text);
      if (reader->NextElement() && reader->ReadString(&text)) right->assign(text);
      if (reader->NextElement()) reader->Fail("a merge is of two tokens");
    } else if (reader->ReadString(&text)) {
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        reader->Fail("a merge is of two tokens, with one space between them");
        return false;
      }
      left->assign(text.substr(0, space));
      right->assign(text.substr(space + 1));
    }
    if (left->empty() || right->empty()) reader->Fail("a merge of an empty token");
    return reader->ok();
  }

  absl::Status ReadOptions() {
    if (!options_.contains("vocab")) return absl::InvalidArgumentError("model.vocab: is missing");
    if (!options_.contains("merges")) return absl::InvalidArgumentError("model.merges: is missing");
    JsonFields fields(options_, "model");
    // Older files do not name the type of a BPE model.
    const std::string type = fields.String("type", "BPE");
    if (type != "BPE") {
      fields.Fail("type", Concat("the model \"", type, "\" is not implemented"));
    }
    fields.RefuseOthersThan({"type", "dropout", "unk_token", "continuing_subword_prefix",
                             "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges",
                             "vocab", "merges"});
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!fields.String(key, "").empty()) fields.Fail(key, "is not implemented");
    }
    const nlohmann::json* dropout = fields.Find("dropout");
    if (dropout != nullptr && *dropout != 0) fields.Fail("dropout", "is not implemented");
    file_.model.fuse_unknown = fields.Bool("fuse_unk", false);
    file_.model.byte_fallback = fields.Bool("byte_fallback", false);
    file_.model.ignore_merges = fields.Bool("ignore_merges", false);
    if (fields.Find("unk_token") != nullptr) {
      const std::string unknown = fields.String("unk_token");
      file_.model.unknown_id = file_.vocabulary.IdOf(unknown);
      if (file_.model.unknown_id == Vocabulary::kNone) {
        fields.Fail("unk_token", Concat("\"", unknown, "\" is not in the vocabulary"));
      }
    }
    return fields.status();
  }

  struct WaitingMerge {
    size_t place;  // in the file
    size_t begin;  // in waiting_text_
    size_t left_bytes;
    size_t right_bytes;
  };

  JsonReader reader_;
  std::string_view text_;
  std::vector<WaitingMerge> waiting_;  // merges that are read, but not looked up
  std::string waiting_text_;
  TokenizerFile file_;
  nlohmann::json options_ = nlohmann::json::object();  // of the model
  absl::Status status_;
};

}  // namespace

absl::StatusOr<TokenizerFile> ParseTokenizerFile(std::string_view text) {
  const size_t valid = ValidUtf8Prefix(text);
  if (valid != text.size()) {
    return absl::InvalidArgumentError(Concat("byte ", valid, ": is not UTF-8"));
  }
  return FileParser(text).Parse();
}

}  // namespace liquid
