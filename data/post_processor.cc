#include "data/post_processor.h"

#include "base/status.h"
#include "data/concat.h"
#include "data/json_fields.h"
#include "data/vocabulary.h"

namespace liquid {
namespace {

constexpr int kMaxDepth = 8;
constexpr size_t kMaxSpecialTokens = 64;

// Appends the ids that `special_tokens` has for the token `name`.
absl::Status AppendIds(const nlohmann::json& special_tokens, const std::string& name,
                       const std::string& path, std::vector<int32_t>* ids) {
  const auto entry = special_tokens.find(name);
  if (entry == special_tokens.end()) {
    return absl::InvalidArgumentError(Concat(path, ".special_tokens: \"", name, "\" is missing"));
  }
  JsonFields fields(*entry, Concat(path, ".special_tokens.", name));
  const nlohmann::json* list = fields.List("ids");
  LIQUID_RETURN_IF_ERROR(fields.status());
  for (const nlohmann::json& id : *list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > Vocabulary::kMaxId) {
      fields.Fail("ids", "must be ids of tokens");
      return fields.status();
    }
    ids->push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status AddTemplate(const nlohmann::json& value, const std::string& path,
                         PostProcessor* result) {
  JsonFields fields(value, path);
  fields.RefuseOthersThan({"type", "single", "pair", "special_tokens"});
  const nlohmann::json* single = fields.List("single");
  const nlohmann::json* known = fields.Find("special_tokens");
  LIQUID_RETURN_IF_ERROR(fields.status());
  const nlohmann::json empty = nlohmann::json::object();
  const nlohmann::json& special_tokens = known != nullptr && known->is_object() ? *known : empty;
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  bool sequence_seen = false;
  for (size_t i = 0; i < single->size(); ++i) {
    JsonFields piece((*single)[i], Concat(path, ".single[", i, "]"));
    piece.RefuseOthersThan({"Sequence", "SpecialToken"});
    const bool is_sequence = piece.Find("Sequence") != nullptr;
    const nlohmann::json* content = piece.Find(is_sequence ? "Sequence" : "SpecialToken");
    if (content == nullptr) piece.Fail("SpecialToken", "is missing");
    LIQUID_RETURN_IF_ERROR(piece.status());
    JsonFields content_fields(*content, piece.path());
    const std::string id = content_fields.String("id");
    if (is_sequence && (id != "A" || sequence_seen)) {
      content_fields.Fail("id", "anything but one sequence A is not implemented");
    }
    LIQUID_RETURN_IF_ERROR(content_fields.status());
    sequence_seen = sequence_seen || is_sequence;
    if (is_sequence) continue;
    LIQUID_RETURN_IF_ERROR(AppendIds(special_tokens, id, path, sequence_seen ? &suffix : &prefix));
  }
  if (!sequence_seen) fields.Fail("single", "a template without the text is not implemented");
  // A later template goes around what an earlier one made.
  result->prefix.insert(result->prefix.begin(), prefix.begin(), prefix.end());
  result->suffix.insert(result->suffix.end(), suffix.begin(), suffix.end());
  if (result->prefix.size() + result->suffix.size() > kMaxSpecialTokens) {
    fields.Fail("single", "this many special tokens are not implemented");
  }
  return fields.status();
}

absl::Status Add(const nlohmann::json& value, const std::string& path, int depth,
                 PostProcessor* result) {
  JsonFields fields(value, path);
  const std::string type = fields.Type();
  if (type == "TemplateProcessing") return AddTemplate(value, path, result);
  if (type == "Sequence" && depth < kMaxDepth) {
    fields.RefuseOthersThan({"type", "processors"});
    const nlohmann::json* list = fields.List("processors");
    LIQUID_RETURN_IF_ERROR(fields.status());
    for (size_t i = 0; i < list->size(); ++i) {
      LIQUID_RETURN_IF_ERROR(
          Add((*list)[i], Concat(path, ".processors[", i, "]"), depth + 1, result));
    }
  } else if (type == "ByteLevel") {
    fields.RefuseOthersThan({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  } else {
    fields.Fail("type", Concat("the post-processor \"", type, "\" is not implemented"));
  }
  return fields.status();
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::FromJson(const nlohmann::json& value) {
  PostProcessor result;
  if (!value.is_null()) {
    LIQUID_RETURN_IF_ERROR(Add(value, "post_processor", 0, &result));
  }
  return result;
}

}  // namespace liquid
