#include "data/jinja/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

// As str.isprintable() for what is not a letter; a coarse view of Unicode's categories C and Z.
bool IsPrintable(char32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA1) || c == 0xAD) return false;
  if (c != ' ' && IsSpace(c)) return false;
  if ((c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E)) return false;
  if ((c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF0 && c <= 0xFFFB)) return false;
  return !(c >= 0xE000 && c <= 0xF8FF) && c < 0xE0000;
}

std::string QuoteRepr(std::string_view text) {
  const bool single =
      text.find('\'') == std::string_view::npos || text.find('"') != std::string_view::npos;
  const char quote = single ? '\'' : '"';
  std::string out(1, quote);
  for (size_t offset = 0; offset < text.size(); offset += CodePointBytes(text[offset])) {
    const char32_t c = CodePointAt(text, offset);
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      out.push_back('\\');
      out.push_back(text[offset]);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (IsPrintable(c)) {
      out.append(text.substr(offset, CodePointBytes(text[offset])));
    } else if (c < 0x100) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned>(c));
    } else if (c < 0x10000) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      absl::StrAppendFormat(&out, "\\U%08x", static_cast<unsigned>(c));
    }
  }
  out.push_back(quote);
  return out;
}

std::string QuoteJson(std::string_view text, bool ensure_ascii) {
  constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  constexpr std::string_view kLetters = "\"\\nrtfb";
  std::string out = "\"";
  for (size_t offset = 0; offset < text.size();) {
    const char byte = text[offset];
    const size_t length = CodePointBytes(byte);
    if (const size_t i = kEscaped.find(byte); i != std::string_view::npos) {
      out.push_back('\\');
      out.push_back(kLetters[i]);
    } else if (static_cast<unsigned char>(byte) < 0x20 || (ensure_ascii && byte == 0x7F)) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(byte));
    } else if (length == 1 || !ensure_ascii) {
      out.append(text.substr(offset, length));
    } else {
      const char32_t c = CodePointAt(text, offset);
      if (c < 0x10000) {
        absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
      } else {
        absl::StrAppendFormat(&out, "\\u%04x\\u%04x", 0xD800u + ((c - 0x10000u) >> 10),
                              0xDC00u + ((c - 0x10000u) & 0x3FFu));
      }
    }
    offset += length;
  }
  out.push_back('"');
  return out;
}

// Scalars that str(), repr() and JSON keys print alike.
std::string ScalarText(const Value& value) {
  if (value.is_none()) return "None";
  if (value.is_bool()) return value.boolean() ? "True" : "False";
  if (value.is_int()) return Concat(value.integer());
  return FloatRepr(value.number());
}

class ReprWriter {
 public:
  explicit ReprWriter(RenderState& state) : state_(state) {}

  absl::Status Write(const Value& value, Origin origin) {
    LIQUID_RETURN_IF_ERROR(state_.Charge(1));
    if (static_cast<int64_t>(out_.size()) > state_.limits().max_text_bytes) {
      return state_.ChargeText(out_.size());
    }
    if (value.is_text()) {
      out_.Append(QuoteRepr(value.bytes()), value.text().MainOrigin());
    } else if (value.is_list()) {
      return WriteList(value.list());
    } else if (value.is_dict()) {
      return WriteDict(value.dict());
    } else if (value.is_object()) {
      return CannotPrint(value.type_name());
    } else {
      out_.Append(value.is_undefined() ? "Undefined" : ScalarText(value), origin);
    }
    return absl::OkStatus();
  }

  Text Take() && { return std::move(out_); }

 private:
  // What Python prints of these has no use in a chat.
  static absl::Status CannotPrint(std::string_view type) {
    return absl::InvalidArgumentError(Concat("a ", type, " cannot be printed: use |list or |join"));
  }

  absl::Status WriteList(const List& list) {
    if (list.kind != List::Kind::kList && list.kind != List::Kind::kTuple) {
      return CannotPrint(Value::TypeName(list));
    }
    const bool tuple = list.kind == List::Kind::kTuple;
    out_.Append(tuple ? "(" : "[", list.origin);
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.Append(", ", list.origin);
      LIQUID_RETURN_IF_ERROR(Write(list.items[i], list.origin));
    }
    out_.Append(!tuple ? "]" : list.items.size() == 1 ? ",)" : ")", list.origin);
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict) {
    out_.Append("{", dict.origin);
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) out_.Append(", ", dict.origin);
      LIQUID_RETURN_IF_ERROR(Write(dict.entries[i].first, dict.origin));
      out_.Append(": ", dict.origin);
      LIQUID_RETURN_IF_ERROR(Write(dict.entries[i].second, dict.origin));
    }
    out_.Append("}", dict.origin);
    return absl::OkStatus();
  }

  RenderState& state_;
  Text out_;
};

class JsonWriter {
 public:
  JsonWriter(RenderState& state, const JsonStyle& style) : state_(state), style_(style) {}

  absl::Status Write(const Value& value, Origin origin, int level) {
    LIQUID_RETURN_IF_ERROR(state_.Charge(1));
    if (static_cast<int64_t>(out_.size()) > state_.limits().max_text_bytes) {
      return state_.ChargeText(out_.size());
    }
    if (value.is_text()) {
      out_.Append(QuoteJson(value.bytes(), style_.ensure_ascii), value.text().MainOrigin());
      return absl::OkStatus();
    }
    if (value.is_dict()) return WriteDict(value.dict(), level);
    const bool listed = value.is_list() && (value.list().kind == List::Kind::kList ||
                                            value.list().kind == List::Kind::kTuple);
    if (listed) return WriteList(value.list(), level);
    if (!value.is_number() && !value.is_none()) {
      return absl::InvalidArgumentError(
          Concat("Object of type ", value.type_name(), " is not JSON serializable"));
    }
    out_.Append(Scalar(value), origin);
    return absl::OkStatus();
  }

  Text Take() && { return std::move(out_); }

 private:
  static std::string Scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is_bool()) return value.boolean() ? "true" : "false";
    if (value.is_float() && std::isnan(value.number())) return "NaN";
    if (value.is_float() && std::isinf(value.number())) {
      return value.number() > 0 ? "Infinity" : "-Infinity";
    }
    return ScalarText(value);
  }

  void NewLine(Origin origin, int level) {
    if (style_.indent == nullptr) return;
    out_.Append("\n", origin);
    for (int i = 0; i < level; ++i) out_.Append(*style_.indent, origin);
  }

  absl::Status WriteList(const List& list, int level) {
    if (list.items.empty()) {
      out_.Append("[]", list.origin);
      return absl::OkStatus();
    }
    out_.Append("[", list.origin);
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.Append(style_.item_separator, list.origin);
      NewLine(list.origin, level + 1);
      LIQUID_RETURN_IF_ERROR(Write(list.items[i], list.origin, level + 1));
    }
    NewLine(list.origin, level);
    out_.Append("]", list.origin);
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict, int level) {
    if (dict.entries.empty()) {
      out_.Append("{}", dict.origin);
      return absl::OkStatus();
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) {
      if (!entry.first.is_text() && !entry.first.is_number() && !entry.first.is_none()) {
        return absl::InvalidArgumentError("a key of a JSON object must be a string or a number");
      }
      entries.push_back(&entry);
    }
    if (style_.sort_keys) {
      for (const auto* entry : entries) {
        if (!entry->first.is_text()) {
          return absl::InvalidArgumentError("sort_keys needs keys that are strings");
        }
      }
      std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
        return a->first.bytes() < b->first.bytes();
      });
    }
    out_.Append("{", dict.origin);
    for (size_t i = 0; i < entries.size(); ++i) {
      const auto& [key, value] = *entries[i];
      if (i > 0) out_.Append(style_.item_separator, dict.origin);
      NewLine(dict.origin, level + 1);
      const std::string name = key.is_text() ? key.bytes() : Scalar(key);
      out_.Append(QuoteJson(name, style_.ensure_ascii), dict.origin);
      out_.Append(style_.key_separator, dict.origin);
      LIQUID_RETURN_IF_ERROR(Write(value, dict.origin, level + 1));
    }
    NewLine(dict.origin, level);
    out_.Append("}", dict.origin);
    return absl::OkStatus();
  }

  RenderState& state_;
  const JsonStyle& style_;
  Text out_;
};

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer, static_cast<size_t>(end - buffer));
  const size_t e = scientific.find('e');
  const int exponent = std::atoi(std::string(scientific.substr(e + 1)).c_str());
  // Python writes an exponent below 1e-4 and from 1e16 on.
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  const auto fixed_end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr;
  std::string fixed(buffer, static_cast<size_t>(fixed_end - buffer));
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

absl::StatusOr<Text> ToText(RenderState& state, const Value& value) {
  if (value.is_text()) return value.text();
  if (value.is_undefined()) return Text();
  return ToRepr(state, value);
}

absl::StatusOr<Text> ToRepr(RenderState& state, const Value& value) {
  ReprWriter writer(state);
  LIQUID_RETURN_IF_ERROR(writer.Write(value, Origin()));
  return std::move(writer).Take();
}

absl::StatusOr<Text> ToJson(RenderState& state, const Value& value, const JsonStyle& style) {
  JsonWriter writer(state, style);
  LIQUID_RETURN_IF_ERROR(writer.Write(value, Origin(), 0));
  Text out = std::move(writer).Take();
  LIQUID_RETURN_IF_ERROR(state.ChargeText(out.size()));
  return out;
}

}  // namespace liquid::jinja
