#include "data/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/status.h"
#include "data/added_tokens.h"
#include "data/bpe.h"
#include "data/normalizer.h"
#include "data/post_processor.h"
#include "data/pretokenizer.h"
#include "data/token_decoder.h"
#include "data/tokenizer_file.h"

namespace liquid {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr size_t kMaxKeptBytes = 64 << 20;                 // of a text, from call to call
constexpr size_t kMaxHeldIds = 8;                          // more than the bytes of a character

}  // namespace

// Memory that one call needs and the next one may use again.
struct Tokenizer::Scratch {
  BpeScratch bpe;
  Normalizer::Storage normalized;
  std::vector<uint32_t> begins;  // of the tokens of a word
};

// Everything that the file says, and the scratch memory of past calls.
struct Tokenizer::Parts {
  Vocabulary vocabulary;  // of the model
  std::vector<AddedToken> added;
  absl::flat_hash_map<int32_t, const AddedToken*> added_by_id;
  absl::flat_hash_map<std::string, const AddedToken*> added_by_content;
  AddedTokenFinder in_raw_text;
  AddedTokenFinder in_normalized_text;
  Normalizer normalizer;
  PreTokenizer pretokenizer;
  PostProcessor post_processor;
  TokenDecoder decoder;
  std::optional<BpeModel> model;
  int32_t vocab_size = 0;

  Mutex mutex;
  std::vector<std::unique_ptr<Scratch>> idle ABSL_GUARDED_BY(mutex);
};

// Scratch memory for one call. There are as many as there ever were calls at a time, so threads
// share nothing, and what one call has learned of the text's words serves the next.
class Tokenizer::ScratchLease {
 public:
  explicit ScratchLease(Parts* parts) : parts_(parts) {
    {
      const MutexLock lock(parts->mutex);
      if (!parts->idle.empty()) {
        scratch_ = std::move(parts->idle.back());
        parts->idle.pop_back();
      }
    }
    if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  }
  ~ScratchLease() {
    scratch_->normalized.DropIfAbove(kMaxKeptBytes);
    const MutexLock lock(parts_->mutex);
    parts_->idle.push_back(std::move(scratch_));
  }
  ScratchLease(const ScratchLease&) = delete;
  ScratchLease& operator=(const ScratchLease&) = delete;

  BpeScratch* bpe() { return &scratch_->bpe; }
  Normalizer::Storage* normalized() { return &scratch_->normalized; }
  std::vector<uint32_t>* begins() { return &scratch_->begins; }

 private:
  Parts* parts_;
  std::unique_ptr<Scratch> scratch_;
};

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory) {
  const std::string path = JoinPath(directory, "tokenizer.json");
  LIQUID_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return FromJson(file.text(), path);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view json,
                                                               const std::string& path) {
  const auto build = [&]() -> absl::StatusOr<std::unique_ptr<Parts>> {
    auto parts = std::make_unique<Parts>();
    LIQUID_ASSIGN_OR_RETURN(TokenizerFile file, ParseTokenizerFile(json));
    parts->vocabulary = std::move(file.vocabulary);
    LIQUID_ASSIGN_OR_RETURN(parts->added, ReadAddedTokens(file.added_tokens, parts->vocabulary));
    LIQUID_ASSIGN_OR_RETURN(parts->normalizer, Normalizer::FromJson(file.normalizer));
    LIQUID_ASSIGN_OR_RETURN(parts->pretokenizer, PreTokenizer::FromJson(file.pre_tokenizer));
    LIQUID_ASSIGN_OR_RETURN(parts->post_processor, PostProcessor::FromJson(file.post_processor));
    LIQUID_ASSIGN_OR_RETURN(parts->decoder, TokenDecoder::FromJson(file.decoder));
    file.model.byte_level = parts->pretokenizer.byte_level();
    absl::StatusOr<BpeModel> model = BpeModel::Create(parts->vocabulary, file.merges, file.model);
    if (!model.ok()) return Annotate(model.status(), "model");
    parts->model = *std::move(model);
    return parts;
  };
  absl::StatusOr<std::unique_ptr<Parts>> built = build();
  if (!built.ok()) return Annotate(built.status(), path);
  Parts& parts = **built;
  parts.vocab_size = parts.vocabulary.id_limit();
  for (const AddedToken& token : parts.added) {
    parts.vocab_size = std::max(parts.vocab_size, token.id + 1);
    parts.added_by_id[token.id] = &token;
    parts.added_by_content[token.content] = &token;
    if (!token.normalized) {
      parts.in_raw_text.Add(token.content, &token);
      continue;
    }
    Normalizer::Storage storage;
    const TextSpan spelling = parts.normalizer.Apply({token.content}, false, &storage);
    if (!spelling.text.empty()) parts.in_normalized_text.Add(spelling.text, &token);
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(*std::move(built)));
}

void Tokenizer::Encode(std::string_view text, const EncodeOptions& options,
                       std::vector<int32_t>* ids) const {
  if (IsValidUtf8(text)) return EncodeValid({text}, options, ids, nullptr);
  const std::string valid = ReplaceInvalidUtf8(text);
  EncodeValid({valid}, options, ids, nullptr);
}

void Tokenizer::EncodeWithOffsets(std::string_view text, const EncodeOptions& options,
                                  std::vector<int32_t>* ids, std::vector<ByteRange>* ranges) const {
  if (IsValidUtf8(text)) return EncodeValid({text}, options, ids, ranges);
  std::vector<size_t> origins;
  const std::string valid = ReplaceInvalidUtf8(text, &origins);
  const size_t first = ranges->size();
  EncodeValid({valid}, options, ids, ranges);
  for (size_t i = first; i < ranges->size(); ++i) {
    (*ranges)[i] = {origins[(*ranges)[i].begin], origins[(*ranges)[i].end]};
  }
}

void Tokenizer::EncodeValid(const TextSpan& text, const EncodeOptions& options,
                            std::vector<int32_t>* ids, std::vector<ByteRange>* ranges) const {
  ScratchLease lease(parts_.get());
  const auto add_special = [&](const std::vector<int32_t>& tokens, size_t at) {
    if (!options.add_special_tokens) return;
    ids->insert(ids->end(), tokens.begin(), tokens.end());
    if (ranges != nullptr) ranges->insert(ranges->end(), tokens.size(), {at, at});
  };
  const auto on_token = [&](const AddedToken& token, const TextSpan& span) {
    ids->push_back(token.id);
    if (ranges != nullptr) ranges->push_back(span.OriginOf(0, span.text.size()));
  };
  const auto on_text = [&](const TextSpan& segment) {
    const bool track = ranges != nullptr || parts_->pretokenizer.needs_origins();
    const TextSpan normalized = parts_->normalizer.Apply(segment, track, lease.normalized());
    parts_->in_normalized_text.Split(
        normalized, [&](const TextSpan& words) { EncodeSegment(words, ids, ranges, &lease); },
        on_token);
  };
  add_special(parts_->post_processor.prefix, 0);
  parts_->in_raw_text.Split(text, on_text, on_token);
  add_special(parts_->post_processor.suffix, text.text.size());
}

// A stretch of normalized text without added tokens.
void Tokenizer::EncodeSegment(const TextSpan& segment, std::vector<int32_t>* ids,
                              std::vector<ByteRange>* ranges, ScratchLease* lease) const {
  const BpeModel& model = *parts_->model;
  const bool byte_level = parts_->pretokenizer.byte_level();
  std::vector<uint32_t>* begins = ranges == nullptr ? nullptr : lease->begins();
  const bool track = ranges != nullptr || parts_->pretokenizer.needs_origins();
  if (byte_level && begins == nullptr && !parts_->pretokenizer.rewrites()) {
    parts_->pretokenizer.Split(segment, track, [&](const TextSpan& word) {
      model.EncodeSoon(word.text, lease->bpe(), ids);
    });
    return model.EncodeWaiting(lease->bpe(), ids);
  }
  parts_->pretokenizer.Split(segment, track, [&](const TextSpan& word) {
    if (begins != nullptr) begins->clear();
    if (byte_level) {
      model.EncodeWord(word.text, lease->bpe(), ids, begins);
    } else {
      model.EncodeText(word.text, lease->bpe(), ids, begins);
    }
    if (begins == nullptr) return;
    for (size_t i = 0; i < begins->size(); ++i) {
      const size_t end = i + 1 < begins->size() ? (*begins)[i + 1] : word.text.size();
      ranges->push_back(word.OriginOf((*begins)[i], end));
    }
  });
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    if (skip_special_tokens && is_special(id)) continue;
    std::string token = IdToToken(id);
    if (!token.empty()) tokens.push_back(std::move(token));
  }
  return parts_->decoder.Decode(std::move(tokens));
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  const auto it = parts_->added_by_content.find(std::string(token));
  if (it != parts_->added_by_content.end()) return it->second->id;
  const int32_t id = parts_->vocabulary.IdOf(token);
  if (id == Vocabulary::kNone) return std::nullopt;
  return id;
}

std::string Tokenizer::IdToToken(int32_t id) const {
  const auto it = parts_->added_by_id.find(id);
  if (it != parts_->added_by_id.end()) return it->second->content;
  return std::string(parts_->vocabulary.TokenOf(id));
}

int32_t Tokenizer::vocab_size() const { return parts_->vocab_size; }

bool Tokenizer::is_special(int32_t id) const {
  const auto it = parts_->added_by_id.find(id);
  return it != parts_->added_by_id.end() && it->second->special;
}

std::string StreamDecoder::Add(int32_t id) {
  const bool skipped = skip_special_tokens_ && tokenizer_->is_special(id);
  if (skipped || tokenizer_->IdToToken(id).empty()) return "";
  ids_.push_back(id);
  return Take(ids_.size() - num_context_ > kMaxHeldIds);
}

std::string StreamDecoder::Finish() { return Take(true); }

// What the held ids add to the context; nothing if they end inside of a character, unless `all`.
std::string StreamDecoder::Take(bool all) {
  const absl::Span<const int32_t> ids(ids_);
  const std::string before = tokenizer_->Decode(ids.first(num_context_), skip_special_tokens_);
  const std::string text = tokenizer_->Decode(ids, skip_special_tokens_);
  if (text.size() <= before.size()) return "";
  if (!all && text.ends_with(kReplacement)) return "";
  size_t same = 0;  // all of `before`, but for halves of characters that have found their rest
  while (same < before.size() && before[same] == text[same]) ++same;
  while (same > 0 && IsContinuation(text[same])) --same;
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(num_context_));
  num_context_ = ids_.size();
  return text.substr(same);
}

}  // namespace liquid
