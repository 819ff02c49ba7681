#include "data/normalizer.h"

#include <utility>

#include "base/status.h"
#include "data/concat.h"
#include "data/json_fields.h"

namespace liquid {
namespace {

constexpr int kMaxDepth = 8;

}  // namespace

absl::StatusOr<Normalizer> Normalizer::FromJson(const nlohmann::json& value) {
  Normalizer normalizer;
  if (!value.is_null()) {
    LIQUID_RETURN_IF_ERROR(normalizer.Add(value, "normalizer", 0));
  }
  return normalizer;
}

absl::Status Normalizer::Add(const nlohmann::json& value, const std::string& path, int depth) {
  JsonFields fields(value, path);
  const std::string type = fields.Type();
  if (type == "Sequence" && depth < kMaxDepth) {
    fields.RefuseOthersThan({"type", "normalizers"});
    const nlohmann::json* list = fields.List("normalizers");
    LIQUID_RETURN_IF_ERROR(fields.status());
    for (size_t i = 0; i < list->size(); ++i) {
      LIQUID_RETURN_IF_ERROR(Add((*list)[i], Concat(path, ".normalizers[", i, "]"), depth + 1));
    }
  } else if (type == "NFC") {
    fields.RefuseOthersThan({"type"});
    if (nfc_ == nullptr) nfc_ = std::make_unique<const Nfc>();
    steps_.push_back({Kind::kNfc, "", ""});
  } else if (type == "Prepend") {
    fields.RefuseOthersThan({"type", "prepend"});
    steps_.push_back({Kind::kPrepend, "", fields.String("prepend")});
  } else if (type == "Replace") {
    fields.RefuseOthersThan({"type", "pattern", "content"});
    const nlohmann::json* pattern = fields.Find("pattern");
    Step step{Kind::kReplace, "", fields.String("content")};
    if (pattern == nullptr) {
      fields.Fail("pattern", "is missing");
    } else {
      JsonFields pattern_fields(*pattern, fields.PathOf("pattern"));
      pattern_fields.RefuseOthersThan({"String"});
      step.pattern = pattern_fields.String("String");
      LIQUID_RETURN_IF_ERROR(pattern_fields.status());
    }
    if (!step.pattern.empty()) steps_.push_back(std::move(step));
  } else {
    fields.Fail("type", Concat("the normalizer \"", type, "\" is not implemented"));
  }
  return fields.status();
}

TextSpan Normalizer::Apply(const TextSpan& span, bool track, Storage* storage) const {
  TextSpan current = span;
  for (const Step& step : steps_) {
    AlignedText& changed = storage->next;
    switch (step.kind) {
      case Kind::kNfc:
        if (!nfc_->MayChange(current.text)) continue;
        nfc_->Normalize(current, track, &changed);
        break;
      case Kind::kReplace:
        if (!ReplaceAll(current, step.pattern, step.content, track, &changed)) continue;
        break;
      case Kind::kPrepend:
        if (current.text.empty()) continue;
        Prepend(step.content, current, track, &changed);
        break;
    }
    std::swap(storage->now, storage->next);
    current = storage->now.Span();
  }
  return current;
}

}  // namespace liquid
