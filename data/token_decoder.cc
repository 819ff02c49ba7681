#include "data/token_decoder.h"

#include <charconv>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "data/bpe.h"
#include "data/concat.h"
#include "data/json_fields.h"
#include "data/unicode.h"

namespace liquid {
namespace {

constexpr int kMaxDepth = 8;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// The byte that "<0x0A>" stands for.
std::optional<char> FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

// The bytes of all tokens joined, as one text. A token outside of the byte alphabet is itself.
void RunByteLevel(std::vector<std::string>* tokens) {
  std::string all;
  std::string bytes;
  for (const std::string& token : *tokens) {
    all.append(ByteLevelToBytes(token, &bytes) ? bytes : token);
  }
  tokens->assign(1, ReplaceInvalidUtf8(all));
}

// A run of byte tokens becomes its text, or one U+FFFD for each byte if the run is not UTF-8.
void RunByteFallback(std::vector<std::string>* tokens) {
  std::vector<std::string> result;
  std::string run;
  const auto flush = [&] {
    if (IsValidUtf8(run)) {
      if (!run.empty()) result.push_back(run);
    } else {
      result.insert(result.end(), run.size(), std::string(kReplacement));
    }
    run.clear();
  };
  for (std::string& token : *tokens) {
    if (const std::optional<char> byte = FallbackByte(token)) {
      run.push_back(*byte);
      continue;
    }
    flush();
    result.push_back(std::move(token));
  }
  flush();
  *tokens = std::move(result);
}

// `text` without up to `num_left` of `character` at its start and `num_right` at its end.
std::string Strip(std::string_view text, std::string_view character, size_t num_left,
                  size_t num_right) {
  for (; num_left > 0 && text.starts_with(character); --num_left) {
    text.remove_prefix(character.size());
  }
  for (; num_right > 0 && text.ends_with(character); --num_right) {
    text.remove_suffix(character.size());
  }
  return std::string(text);
}

}  // namespace

absl::StatusOr<TokenDecoder> TokenDecoder::FromJson(const nlohmann::json& value) {
  TokenDecoder decoder;
  if (!value.is_null()) {
    decoder.joins_by_space_ = false;
    LIQUID_RETURN_IF_ERROR(decoder.Add(value, "decoder", 0));
  }
  return decoder;
}

absl::Status TokenDecoder::Add(const nlohmann::json& value, const std::string& path, int depth) {
  JsonFields fields(value, path);
  const std::string type = fields.Type();
  if (type == "Sequence" && depth < kMaxDepth) {
    fields.RefuseOthersThan({"type", "decoders"});
    const nlohmann::json* list = fields.List("decoders");
    LIQUID_RETURN_IF_ERROR(fields.status());
    for (size_t i = 0; i < list->size(); ++i) {
      LIQUID_RETURN_IF_ERROR(Add((*list)[i], Concat(path, ".decoders[", i, "]"), depth + 1));
    }
    return absl::OkStatus();
  }
  Step step{.kind = Kind::kFuse, .pattern = "", .content = ""};
  if (type == "ByteLevel") {
    fields.RefuseOthersThan({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    step.kind = Kind::kByteLevel;
  } else if (type == "ByteFallback" || type == "Fuse") {
    fields.RefuseOthersThan({"type"});
    step.kind = type == "Fuse" ? Kind::kFuse : Kind::kByteFallback;
  } else if (type == "Replace") {
    fields.RefuseOthersThan({"type", "pattern", "content"});
    step.kind = Kind::kReplace;
    step.content = fields.String("content");
    const nlohmann::json* pattern = fields.Find("pattern");
    JsonFields pattern_fields(pattern == nullptr ? value : *pattern, fields.PathOf("pattern"));
    if (pattern != nullptr) pattern_fields.RefuseOthersThan({"String"});
    step.pattern = pattern_fields.String("String");
    LIQUID_RETURN_IF_ERROR(pattern_fields.status());
  } else if (type == "Strip") {
    fields.RefuseOthersThan({"type", "content", "start", "stop"});
    step.kind = Kind::kStrip;
    step.pattern = fields.String("content");
    const int64_t left = fields.Integer("start");
    const int64_t right = fields.Integer("stop");
    if (left < 0 || right < 0) fields.Fail("start", "must not be negative, nor \"stop\"");
    step.num_left = static_cast<size_t>(left);
    step.num_right = static_cast<size_t>(right);
  } else if (type == "Metaspace") {
    fields.RefuseOthersThan(
        {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
    step.kind = Kind::kMetaspace;
    step.pattern = fields.String("replacement");
    const bool prefix = fields.Bool("add_prefix_space", true);
    step.drop_first = fields.String("prepend_scheme", prefix ? "always" : "never") != "never";
  } else {
    fields.Fail("type", Concat("the decoder \"", type, "\" is not implemented"));
  }
  if (step.pattern.empty() &&
      (step.kind == Kind::kStrip || step.kind == Kind::kMetaspace || step.kind == Kind::kReplace)) {
    fields.Fail("type", Concat("\"", type, "\" of an empty text is not implemented"));
  }
  steps_.push_back(std::move(step));
  return fields.status();
}

void TokenDecoder::Run(const Step& step, std::vector<std::string>* tokens) {
  switch (step.kind) {
    case Kind::kByteLevel:
      return RunByteLevel(tokens);
    case Kind::kByteFallback:
      return RunByteFallback(tokens);
    case Kind::kFuse:
      tokens->assign(1, absl::StrJoin(*tokens, ""));
      return;
    case Kind::kReplace:
      for (std::string& token : *tokens) {
        absl::StrReplaceAll({{step.pattern, step.content}}, &token);
      }
      return;
    case Kind::kStrip:
      for (std::string& token : *tokens) {
        token = Strip(token, step.pattern, step.num_left, step.num_right);
      }
      return;
    case Kind::kMetaspace:
      for (size_t i = 0; i < tokens->size(); ++i) {
        const std::string_view space = i == 0 && step.drop_first ? "" : " ";
        absl::StrReplaceAll({{step.pattern, Printable(space)}}, &(*tokens)[i]);
      }
      return;
  }
}

std::string TokenDecoder::Decode(std::vector<std::string> tokens) const {
  if (joins_by_space_) return absl::StrJoin(tokens, " ");
  for (const Step& step : steps_) Run(step, &tokens);
  return absl::StrJoin(tokens, "");
}

}  // namespace liquid
