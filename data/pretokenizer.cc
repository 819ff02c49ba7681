#include "data/pretokenizer.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "data/concat.h"
#include "data/json_fields.h"

namespace liquid {
namespace {

constexpr int kMaxDepth = 8;

// How GPT-2 splits, which "ByteLevel" does on its own.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::FromJson(const nlohmann::json& value) {
  PreTokenizer pretokenizer;
  if (!value.is_null()) {
    LIQUID_RETURN_IF_ERROR(pretokenizer.Add(value, "pre_tokenizer", 0));
  }
  return pretokenizer;
}

absl::Status PreTokenizer::Add(const nlohmann::json& value, const std::string& path, int depth) {
  JsonFields fields(value, path);
  const std::string type = fields.Type();
  LIQUID_RETURN_IF_ERROR(fields.status());
  if (byte_level_) {
    fields.Fail("type", Concat("\"", type, "\" after \"ByteLevel\" is not implemented"));
  } else if (type == "Sequence" && depth < kMaxDepth) {
    fields.RefuseOthersThan({"type", "pretokenizers"});
    const nlohmann::json* list = fields.List("pretokenizers");
    LIQUID_RETURN_IF_ERROR(fields.status());
    for (size_t i = 0; i < list->size(); ++i) {
      LIQUID_RETURN_IF_ERROR(Add((*list)[i], Concat(path, ".pretokenizers[", i, "]"), depth + 1));
    }
  } else if (type == "Split") {
    return AddSplit(value, path);
  } else if (type == "ByteLevel") {
    return AddByteLevel(value, path);
  } else if (type == "Metaspace") {
    return AddMetaspace(value, path);
  } else if (type == "Digits") {
    fields.RefuseOthersThan({"type", "individual_digits"});
    Stage stage;
    stage.kind = fields.Bool("individual_digits", false) ? Kind::kEachDigit : Kind::kDigitRuns;
    stages_.push_back(std::move(stage));
  } else {
    fields.Fail("type", Concat("the pre-tokenizer \"", type, "\" is not implemented"));
  }
  return fields.status();
}

absl::Status PreTokenizer::AddPattern(std::string_view source, const std::string& path,
                                      Stage stage) {
  absl::StatusOr<Pattern> pattern = Pattern::Compile(source);
  if (!pattern.ok()) return Annotate(pattern.status(), path);
  stage.kind = Kind::kPattern;
  stage.pattern.push_back(*std::move(pattern));
  stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddSplit(const nlohmann::json& value, const std::string& path) {
  constexpr std::pair<std::string_view, Behavior> kBehaviors[] = {
      {"Isolated", Behavior::kIsolated},
      {"Removed", Behavior::kRemoved},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous},
  };
  JsonFields fields(value, path);
  fields.RefuseOthersThan({"type", "pattern", "behavior", "invert"});
  Stage stage;
  stage.invert = fields.Bool("invert", false);
  const std::string name = fields.String("behavior");
  const auto* behavior = std::find_if(std::begin(kBehaviors), std::end(kBehaviors),
                                      [&name](const auto& known) { return known.first == name; });
  if (behavior == std::end(kBehaviors)) {
    fields.Fail("behavior", Concat("\"", name, "\" is not implemented"));
  }
  const nlohmann::json* pattern = fields.Find("pattern");
  if (pattern == nullptr) fields.Fail("pattern", "is missing");
  LIQUID_RETURN_IF_ERROR(fields.status());
  stage.behavior = behavior->second;

  JsonFields pattern_fields(*pattern, fields.PathOf("pattern"));
  pattern_fields.RefuseOthersThan({"String", "Regex"});
  const bool is_regex = pattern_fields.Find("Regex") != nullptr;
  const std::string text = pattern_fields.String(is_regex ? "Regex" : "String");
  LIQUID_RETURN_IF_ERROR(pattern_fields.status());
  if (is_regex) return AddPattern(text, pattern_fields.PathOf("Regex"), std::move(stage));
  stage.kind = Kind::kLiteral;
  stage.literal = text;
  if (!text.empty()) stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddMetaspace(const nlohmann::json& value, const std::string& path) {
  JsonFields fields(value, path);
  fields.RefuseOthersThan(
      {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  Stage rewrite;
  rewrite.kind = Kind::kReplaceSpaces;
  rewrite.literal = fields.String("replacement");
  // Files from before there was "prepend_scheme" say only whether.
  const bool prefix = fields.Bool("add_prefix_space", true);
  const std::string scheme = fields.String("prepend_scheme", prefix ? "always" : "never");
  if (scheme == "always" || scheme == "first") {
    rewrite.prefix = scheme == "first" ? Prefix::kFirst : Prefix::kAlways;
  } else if (scheme != "never") {
    fields.Fail("prepend_scheme", Concat("\"", scheme, "\" is not implemented"));
  }
  if (rewrite.literal.empty() || Utf8Length(rewrite.literal[0]) != rewrite.literal.size()) {
    fields.Fail("replacement", "must be one character");
  }
  const bool split = fields.Bool("split", true);
  LIQUID_RETURN_IF_ERROR(fields.status());
  needs_origins_ = needs_origins_ || rewrite.prefix == Prefix::kFirst;
  Stage literal;
  literal.kind = Kind::kLiteral;
  literal.literal = rewrite.literal;
  literal.behavior = Behavior::kMergedWithNext;
  stages_.push_back(std::move(rewrite));
  rewrites_ = true;
  if (split) stages_.push_back(std::move(literal));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddByteLevel(const nlohmann::json& value, const std::string& path) {
  JsonFields fields(value, path);
  // trim_offsets is read by nobody here: a token's range is all that it came from.
  fields.RefuseOthersThan({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  const bool add_prefix_space = fields.Bool("add_prefix_space", true);
  const bool use_regex = fields.Bool("use_regex", true);
  LIQUID_RETURN_IF_ERROR(fields.status());
  byte_level_ = true;
  if (add_prefix_space) {
    Stage stage;
    stage.kind = Kind::kAddSpace;
    rewrites_ = true;
    stages_.push_back(std::move(stage));
  }
  return use_regex ? AddPattern(kGpt2Pattern, path, Stage()) : absl::OkStatus();
}

void PreTokenizer::RunFrom(size_t index, const TextSpan& text, bool track, WordSink sink) const {
  if (text.text.empty()) return;
  if (index == stages_.size()) return sink(text);
  const Stage& stage = stages_[index];
  switch (stage.kind) {
    case Kind::kReplaceSpaces:
    case Kind::kAddSpace:
      return RunRewrite(index, text, track, sink);
    case Kind::kPattern:
      if (stage.behavior == Behavior::kIsolated) return RunIsolated(index, text, track, sink);
      break;
    case Kind::kLiteral:
      if (text.text.find(stage.literal) == std::string_view::npos && !stage.invert) {
        return RunFrom(index + 1, text, track, sink);
      }
      break;
    case Kind::kDigitRuns:
    case Kind::kEachDigit:
      break;
  }
  for (const Piece& piece : Pieces(stage, text.text)) {
    RunFrom(index + 1, text.Sub(piece.begin, piece.end), track, sink);
  }
}

// Matches and what lies between them, without a list of them: the case of nearly all files.
void PreTokenizer::RunIsolated(size_t index, const TextSpan& text, bool track,
                               WordSink sink) const {
  const Pattern& pattern = stages_[index].pattern[0];
  const bool last = index + 1 == stages_.size();
  const auto pass_on = [&](size_t begin, size_t end) {
    if (begin == end) return;
    if (last) return sink(text.Sub(begin, end));
    RunFrom(index + 1, text.Sub(begin, end), track, sink);
  };
  size_t done = 0;
  for (size_t at = 0; at < text.text.size();) {
    at = pattern.NextCandidate(text.text, at);
    if (at == text.text.size()) break;
    const size_t length = pattern.MatchAt(text.text, at);
    if (length == 0) {
      at += Utf8Length(text.text[at]);
      continue;
    }
    pass_on(done, at);
    done = at + length;
    pass_on(at, done);
    at = done;
  }
  pass_on(done, text.text.size());
}

void PreTokenizer::RunRewrite(size_t index, const TextSpan& text, bool track, WordSink sink) const {
  const Stage& stage = stages_[index];
  AlignedText replaced;
  AlignedText prefixed;
  TextSpan current = text;
  const bool spaces = stage.kind == Kind::kReplaceSpaces;
  if (spaces && ReplaceAll(text, " ", stage.literal, track, &replaced)) current = replaced.Span();
  const std::string_view prefix = spaces ? std::string_view(stage.literal) : " ";
  const bool wanted = !spaces || stage.prefix == Prefix::kAlways ||
                      (stage.prefix == Prefix::kFirst && text.Start() == 0);
  if (wanted && !current.text.starts_with(prefix)) {
    Prepend(prefix, current, track, &prefixed);
    current = prefixed.Span();
  }
  RunFrom(index + 1, current, track, sink);
}

// Bytes of the stage's match at `at`, 0 if there is none.
size_t PreTokenizer::MatchAt(const Stage& stage, std::string_view text, size_t at) {
  if (stage.kind == Kind::kPattern) return stage.pattern[0].MatchAt(text, at);
  if (stage.kind == Kind::kLiteral) {
    return text.substr(at).starts_with(stage.literal) ? stage.literal.size() : 0;
  }
  size_t end = at;
  while (end < text.size() && CharClassTable::Get().Is(DecodeUtf8(&text[end]), kNumberMask)) {
    end += Utf8Length(text[end]);
    if (stage.kind == Kind::kEachDigit) break;
  }
  return end - at;
}

std::vector<PreTokenizer::Piece> PreTokenizer::Pieces(const Stage& stage, std::string_view text) {
  std::vector<Piece> pieces;
  const auto add = [&](size_t begin, size_t end, bool match) {
    if (begin < end) pieces.push_back({begin, end, match != stage.invert});
  };
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t length = MatchAt(stage, text, at);
    if (length == 0) {
      at += Utf8Length(text[at]);
      continue;
    }
    add(done, at, false);
    add(at, at + length, true);
    at = done = at + length;
  }
  add(done, text.size(), false);

  if (stage.behavior == Behavior::kIsolated) return pieces;
  std::vector<Piece> result;
  const bool backwards = stage.behavior == Behavior::kMergedWithNext;
  if (backwards) std::reverse(pieces.begin(), pieces.end());
  bool previous_match = false;
  for (const Piece& piece : pieces) {
    bool join = !result.empty() && piece.match && !previous_match;
    if (stage.behavior == Behavior::kContiguous) {
      join = !result.empty() && piece.match == previous_match;
    }
    previous_match = piece.match;
    if (stage.behavior == Behavior::kRemoved) {
      if (!piece.match) result.push_back(piece);
    } else if (join) {
      result.back().begin = std::min(result.back().begin, piece.begin);
      result.back().end = std::max(result.back().end, piece.end);
    } else {
      result.push_back(piece);
    }
  }
  if (backwards) std::reverse(result.begin(), result.end());
  return result;
}

}  // namespace liquid
