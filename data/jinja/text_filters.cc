// Filters whose result is text or a number.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/jinja/arguments.h"
#include "data/jinja/case.h"
#include "data/jinja/filters.h"
#include "data/jinja/format_string.h"
#include "data/jinja/operators.h"
#include "data/jinja/print.h"
#include "data/jinja/string_operations.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

using Result = absl::StatusOr<Value>;

// Jinja's filters on text take anything and print it first.
template <Text (*kMap)(const Text&)>
Result MapText(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  LIQUID_ASSIGN_OR_RETURN(const Text text, ToText(state, input));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(text.size()));
  return Value::Of(kMap(text));
}

Text Same(const Text& text) { return text; }
Text JinjaTitle(const Text& text) { return ToTitle(text, WordRule::kJinja); }

Result Trim(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"chars"}));
  LIQUID_ASSIGN_OR_RETURN(const Text text, ToText(state, input));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(text.size()));
  if (bound[0] == nullptr || bound[0]->is_none()) {
    return Value::Of(Strip(text, nullptr, Side::kBoth));
  }
  if (!bound[0]->is_text()) return absl::InvalidArgumentError("trim needs a string");
  const std::string_view characters = bound[0]->bytes();
  return Value::Of(Strip(text, &characters, Side::kBoth));
}

Result ReplaceFilter(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"old", "new", "count"}));
  if (bound[0] == nullptr || bound[1] == nullptr) {
    return absl::InvalidArgumentError("replace needs what to replace, and by what");
  }
  LIQUID_ASSIGN_OR_RETURN(const Text text, ToText(state, input));
  LIQUID_ASSIGN_OR_RETURN(const Text from, ToText(state, *bound[0]));
  LIQUID_ASSIGN_OR_RETURN(const Text to, ToText(state, *bound[1]));
  LIQUID_ASSIGN_OR_RETURN(const int64_t count, IntegerOr(bound[2], -1));
  LIQUID_ASSIGN_OR_RETURN(Text out, Replace(state, text, from.bytes(), to, count));
  return Value::Of(std::move(out));
}

Result Center(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"width"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t width, IntegerOr(bound[0], 80));
  LIQUID_ASSIGN_OR_RETURN(const Text text, ToText(state, input));
  LIQUID_ASSIGN_OR_RETURN(Text out, Pad(state, text, width, Side::kBoth, " "));
  return Value::Of(std::move(out));
}

Result Indent(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"width", "first", "blank"}));
  LIQUID_ASSIGN_OR_RETURN(Text text, ToText(state, input));
  const Origin origin = text.MainOrigin();
  std::string indention(4, ' ');
  if (bound[0] != nullptr && bound[0]->is_text()) {
    indention = bound[0]->bytes();
  } else {
    LIQUID_ASSIGN_OR_RETURN(const int64_t width, IntegerOr(bound[0], 4));
    if (width > 10'000) return absl::InvalidArgumentError("the indentation is too wide");
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  text.Append("\n", origin);  // as Jinja does, so that a last empty line counts
  const std::vector<Value> lines = SplitLines(text, false);
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Text& line = lines[i].text();
    if (i > 0) out.Append("\n", origin);
    const bool indented =
        i == 0 ? TruthyOr(bound[1], false) : !line.empty() || TruthyOr(bound[2], false);
    if (indented) out.Append(indention, origin);
    out.Append(line);
    LIQUID_RETURN_IF_ERROR(state.ChargeAppend(out.size(), line.size() + indention.size() + 1));
  }
  return Value::Of(std::move(out));
}

Result Truncate(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound,
                          Bind(arguments, {"length", "killwords", "end", "leeway"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t length, IntegerOr(bound[0], 255));
  LIQUID_ASSIGN_OR_RETURN(const int64_t leeway, IntegerOr(bound[3], 5));
  LIQUID_ASSIGN_OR_RETURN(const Text text, ToText(state, input));
  LIQUID_ASSIGN_OR_RETURN(const Text end,
                          bound[2] == nullptr ? Text("...") : ToText(state, *bound[2]));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(text.size() + end.size()));
  const auto end_size = static_cast<int64_t>(CountCodePoints(end.bytes()));
  if (length < end_size || leeway < 0) {
    return absl::InvalidArgumentError("truncate needs a length of at least that of its end");
  }
  if (static_cast<int64_t>(CountCodePoints(text.bytes())) - leeway <= length) {
    return Value::Of(text);
  }
  Text out = text.Slice(0, ByteOffset(text.bytes(), static_cast<size_t>(length - end_size)));
  if (!TruthyOr(bound[1], false)) {
    const size_t space = out.bytes().rfind(' ');
    if (space != std::string::npos) out = out.Slice(0, space);
  }
  out.Append(end);
  return Value::Of(std::move(out));
}

Result WordCount(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  LIQUID_ASSIGN_OR_RETURN(const Text text, ToText(state, input));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(text.size()));
  // A word is a run of letters, digits and underscores; beyond ASCII, of all but whitespace.
  int64_t count = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size(); i += CodePointBytes(text.bytes()[i])) {
    const char32_t c = CodePointAt(text.bytes(), i);
    const bool word =
        c < 0x80 ? absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' : !IsSpace(c);
    count += word && !inside;
    inside = word;
  }
  return Value::Int(count);
}

Result Format(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(Text text, ToText(state, input));
  const Value format = Value::Of(std::move(text));
  if (!arguments.named.empty() && !arguments.positional.empty()) {
    return absl::InvalidArgumentError("format takes positional or named arguments, not both");
  }
  if (!arguments.named.empty()) {
    std::vector<std::pair<Value, Value>> entries;
    for (const auto& [name, value] : arguments.named) {
      entries.emplace_back(Value::Of(std::string_view(name)), value);
    }
    LIQUID_ASSIGN_OR_RETURN(const Value dict, MakeDict(std::move(entries)));
    return FormatPercent(state, format, dict);
  }
  LIQUID_ASSIGN_OR_RETURN(const Value tuple, MakeList(arguments.positional, List::Kind::kTuple));
  return FormatPercent(state, format, tuple);
}

Result ToJsonFilter(RenderState& state, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound,
                          Bind(arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = TruthyOr(bound[0], false);
  style.sort_keys = TruthyOr(bound[3], false);
  std::string indent;
  if (bound[1] != nullptr && !bound[1]->is_none()) {
    if (bound[1]->is_text()) {
      indent = bound[1]->bytes();
    } else {
      LIQUID_ASSIGN_OR_RETURN(const int64_t width, IntegerOr(bound[1], 0));
      if (width > 100) return absl::InvalidArgumentError("the indentation is too wide");
      indent.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
    style.indent = &indent;
    style.item_separator = ",";
  }
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    const bool pair = bound[2]->is_list() && bound[2]->list().items.size() == 2 &&
                      bound[2]->list().items[0].is_text() && bound[2]->list().items[1].is_text();
    if (!pair) return absl::InvalidArgumentError("separators needs a pair of strings");
    style.item_separator = bound[2]->list().items[0].bytes();
    style.key_separator = bound[2]->list().items[1].bytes();
  }
  LIQUID_ASSIGN_OR_RETURN(Text out, ToJson(state, input, style));
  return Value::Of(std::move(out));
}

Result Abs(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  if (input.is_number() && input.number() < 0) return Negate(input);
  if (input.is_bool()) return Value::Int(input.integer());
  if (input.is_number()) return input;
  return absl::InvalidArgumentError("abs needs a number");
}

// Digits that Python's int() would read, or nullopt.
std::optional<int64_t> ReadInteger(std::string_view text, int base) {
  const size_t end_of_text = StripRight(text, nullptr);
  const std::string_view stripped =
      text.substr(0, end_of_text).substr(StripLeft(text.substr(0, end_of_text), nullptr));
  const bool plus = stripped.starts_with("+");
  std::string digits(stripped.substr(plus));
  // Python takes single underscores between digits.
  for (size_t i = 1; i + 1 < digits.size(); ++i) {
    if (digits[i] == '_' && digits[i - 1] != '_' && digits[i + 1] != '_') digits.erase(i, 1);
  }
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (plus && digits.starts_with("-")) return std::nullopt;
  return value;
}

Result IntFilter(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"default", "base"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t base, IntegerOr(bound[1], 10));
  const Value missing = bound[0] == nullptr ? Value::Int(0) : *bound[0];
  if (base < 2 || base > 36) return absl::InvalidArgumentError("int needs a base of 2 to 36");
  double number = 0;
  if (input.is_undefined()) return UndefinedError(input);
  if (input.is_integral()) return Value::Int(input.integer());
  if (input.is_float()) {
    number = input.number();
  } else if (input.is_text()) {
    if (const auto value = ReadInteger(input.bytes(), static_cast<int>(base))) {
      return Value::Int(*value);
    }
    if (!absl::SimpleAtod(input.bytes(), &number)) return missing;
  } else {
    return missing;
  }
  if (std::isnan(number) || std::abs(number) >= 9.2e18) return missing;
  return Value::Int(static_cast<int64_t>(number));
}

Result FloatFilter(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"default"}));
  double number = 0;
  if (input.is_undefined()) return UndefinedError(input);
  if (input.is_number()) return Value::Float(input.number());
  if (input.is_text() && absl::SimpleAtod(input.bytes(), &number)) return Value::Float(number);
  return bound[0] == nullptr ? Value::Float(0) : *bound[0];
}

Result Round(RenderState&, const Value& input, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"precision", "method"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t precision, IntegerOr(bound[0], 0));
  if (!input.is_number()) return absl::InvalidArgumentError("round needs a number");
  if (precision < -300 || precision > 300) return absl::InvalidArgumentError("bad precision");
  const std::string method =
      bound[1] != nullptr && bound[1]->is_text() ? bound[1]->bytes() : "common";
  const double value = input.number();
  if (method == "common") {
    if (input.is_integral() && precision >= 0) return Value::Int(input.integer());
    // Through decimal digits, as Python rounds: exact ties only go to even.
    if (precision >= 0) {
      std::string digits(400 + static_cast<size_t>(precision), '\0');
      const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                     std::chars_format::fixed, static_cast<int>(precision))
                           .ptr;
      double rounded = 0;
      std::from_chars(digits.data(), end, rounded);
      return Value::Float(rounded);
    }
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    const double rounded = std::nearbyint(value / unit) * unit;
    return input.is_integral() ? Value::Int(static_cast<int64_t>(rounded)) : Value::Float(rounded);
  }
  if (method != "ceil" && method != "floor") {
    return absl::InvalidArgumentError("method must be common, ceil or floor");
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value * scale;
  return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

struct NamedFilter {
  std::string_view name;
  FilterFunction filter;
};

constexpr NamedFilter kFilters[] = {
    {"abs", Abs},
    {"capitalize", MapText<Capitalize>},
    {"center", Center},
    {"float", FloatFilter},
    {"format", Format},
    {"indent", Indent},
    {"int", IntFilter},
    {"lower", MapText<ToLower>},
    {"replace", ReplaceFilter},
    {"round", Round},
    {"safe", MapText<Same>},  // nothing is escaped: Hugging Face renders without autoescape
    {"string", MapText<Same>},
    {"title", MapText<JinjaTitle>},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"truncate", Truncate},
    {"upper", MapText<ToUpper>},
    {"wordcount", WordCount},
};

}  // namespace

FilterFunction FindTextFilter(std::string_view name) {
  for (const NamedFilter& each : kFilters) {
    if (each.name == name) return each.filter;
  }
  return nullptr;
}

FilterFunction FindFilter(std::string_view name) {
  const FilterFunction text = FindTextFilter(name);
  return text != nullptr ? text : FindListFilter(name);
}

}  // namespace liquid::jinja
