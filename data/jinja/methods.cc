#include "data/jinja/methods.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/arguments.h"
#include "data/jinja/case.h"
#include "data/jinja/operators.h"
#include "data/jinja/string_operations.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

using Method = absl::StatusOr<Value> (*)(RenderState& state, const Value& self,
                                         const Arguments& arguments);
struct NamedMethod {
  std::string_view name;
  Method method;
};

absl::Status WantsString(const Value& value) {
  return absl::InvalidArgumentError(Concat("a string is needed, not '", value.type_name(), "'"));
}

// The string, or null where the argument is missing or none.
absl::StatusOr<const std::string*> StringOrNull(const Value* value) {
  if (value == nullptr || value->is_none()) return nullptr;
  if (!value->is_text()) return WantsString(*value);
  return &value->bytes();
}

absl::StatusOr<const std::string*> RequiredString(const Value* value) {
  LIQUID_ASSIGN_OR_RETURN(const std::string* text, StringOrNull(value));
  if (text == nullptr) return absl::InvalidArgumentError("a string is needed");
  return text;
}

template <Side kSide>
absl::StatusOr<Value> StripMethod(RenderState& state, const Value& self,
                                  const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"chars"}));
  LIQUID_ASSIGN_OR_RETURN(const std::string* characters, StringOrNull(bound[0]));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  if (characters == nullptr) return Value::Of(Strip(self.text(), nullptr, kSide));
  const std::string_view set = *characters;
  return Value::Of(Strip(self.text(), &set, kSide));
}

template <bool kFromRight>
absl::StatusOr<Value> SplitMethod(RenderState& state, const Value& self,
                                  const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"sep", "maxsplit"}));
  LIQUID_ASSIGN_OR_RETURN(const std::string* separator, StringOrNull(bound[0]));
  LIQUID_ASSIGN_OR_RETURN(const int64_t max_splits, IntegerOr(bound[1], -1));
  if (separator != nullptr && separator->empty()) {
    return absl::InvalidArgumentError("empty separator");
  }
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  const std::string_view view = separator == nullptr ? std::string_view() : *separator;
  return MakeList(
      Split(self.text(), separator == nullptr ? nullptr : &view, max_splits, kFromRight));
}

absl::StatusOr<Value> SplitLinesMethod(RenderState& state, const Value& self,
                                       const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"keepends"}));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  return MakeList(SplitLines(self.text(), TruthyOr(bound[0], false)));
}

template <bool kFromRight>
absl::StatusOr<Value> PartitionMethod(RenderState& state, const Value& self,
                                      const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"sep"}));
  LIQUID_ASSIGN_OR_RETURN(const std::string* separator, RequiredString(bound[0]));
  if (separator->empty()) return absl::InvalidArgumentError("empty separator");
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  const Text& text = self.text();
  const size_t at = kFromRight ? text.bytes().rfind(*separator) : text.bytes().find(*separator);
  const Value nothing = Value::Of(Text());
  if (at == std::string::npos) {
    return kFromRight ? MakeList({nothing, nothing, self}, List::Kind::kTuple)
                      : MakeList({self, nothing, nothing}, List::Kind::kTuple);
  }
  const size_t end = at + separator->size();
  return MakeList({Value::Of(text.Slice(0, at)), Value::Of(text.Slice(at, end)),
                   Value::Of(text.Slice(end, text.size()))},
                  List::Kind::kTuple);
}

// The part of `text` between code points `start` and `end`, either of which may be missing.
absl::StatusOr<std::pair<size_t, size_t>> Range(const std::string& text, const Value* start,
                                                const Value* end) {
  if (start == nullptr && end == nullptr) return std::pair<size_t, size_t>(0, text.size());
  const auto size = static_cast<int64_t>(CountCodePoints(text));
  LIQUID_ASSIGN_OR_RETURN(int64_t first, IntegerOr(start, 0));
  LIQUID_ASSIGN_OR_RETURN(int64_t last, IntegerOr(end, size));
  first = std::clamp<int64_t>(first < 0 ? std::max(first, -size) + size : first, 0, size + 1);
  last = std::clamp<int64_t>(last < 0 ? std::max(last, -size) + size : last, 0, size);
  if (first > last) return std::pair<size_t, size_t>(1, 0);
  return std::pair<size_t, size_t>(ByteOffset(text, static_cast<size_t>(first)),
                                   ByteOffset(text, static_cast<size_t>(last)));
}

template <bool kAtEnd>
absl::StatusOr<Value> StartsOrEndsWith(RenderState&, const Value& self,
                                       const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"prefix", "start", "end"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("a string is needed");
  std::vector<Value> affixes = {*bound[0]};
  if (bound[0]->is_list() && bound[0]->list().kind == List::Kind::kTuple) {
    affixes = bound[0]->list().items;
  }
  LIQUID_ASSIGN_OR_RETURN(const auto range, Range(self.bytes(), bound[1], bound[2]));
  if (range.first > range.second) return Value::Bool(false);
  const std::string_view part =
      std::string_view(self.bytes()).substr(range.first, range.second - range.first);
  for (const Value& affix : affixes) {
    if (!affix.is_text()) return WantsString(affix);
    const std::string& bytes = affix.bytes();
    if (kAtEnd ? part.ends_with(bytes) : part.starts_with(bytes)) return Value::Bool(true);
  }
  return Value::Bool(false);
}

template <bool kFromRight, bool kMustFind>
absl::StatusOr<Value> FindMethod(RenderState& state, const Value& self,
                                 const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"sub", "start", "end"}));
  LIQUID_ASSIGN_OR_RETURN(const std::string* wanted, RequiredString(bound[0]));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  const std::string_view text = self.bytes();
  LIQUID_ASSIGN_OR_RETURN(const auto range, Range(self.bytes(), bound[1], bound[2]));
  size_t at = std::string_view::npos;
  if (range.first <= range.second) {
    const std::string_view part = text.substr(range.first, range.second - range.first);
    at = kFromRight ? part.rfind(*wanted) : part.find(*wanted);
  }
  if (at == std::string_view::npos) {
    if (kMustFind) return absl::InvalidArgumentError("substring not found");
    return Value::Int(-1);
  }
  return Value::Int(static_cast<int64_t>(CountCodePoints(text.substr(0, range.first + at))));
}

absl::StatusOr<Value> CountMethod(RenderState& state, const Value& self,
                                  const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"sub", "start", "end"}));
  LIQUID_ASSIGN_OR_RETURN(const std::string* wanted, RequiredString(bound[0]));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  LIQUID_ASSIGN_OR_RETURN(const auto range, Range(self.bytes(), bound[1], bound[2]));
  if (range.first > range.second) return Value::Int(0);
  const std::string_view part =
      std::string_view(self.bytes()).substr(range.first, range.second - range.first);
  if (wanted->empty()) return Value::Int(static_cast<int64_t>(CountCodePoints(part)) + 1);
  int64_t count = 0;
  for (size_t at = part.find(*wanted); at != std::string_view::npos;
       at = part.find(*wanted, at + wanted->size())) {
    ++count;
  }
  return Value::Int(count);
}

absl::StatusOr<Value> ReplaceMethod(RenderState& state, const Value& self,
                                    const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"old", "new", "count"}));
  LIQUID_ASSIGN_OR_RETURN(const std::string* from, RequiredString(bound[0]));
  LIQUID_RETURN_IF_ERROR(RequiredString(bound[1]).status());
  LIQUID_ASSIGN_OR_RETURN(const int64_t count, IntegerOr(bound[2], -1));
  LIQUID_ASSIGN_OR_RETURN(Text out, Replace(state, self.text(), *from, bound[1]->text(), count));
  return Value::Of(std::move(out));
}

absl::StatusOr<Value> JoinMethod(RenderState& state, const Value& self,
                                 const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"iterable"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("join() needs a list");
  LIQUID_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(state, *bound[0]));
  for (const Value& item : items) {
    if (!item.is_text()) return WantsString(item);
  }
  LIQUID_ASSIGN_OR_RETURN(Text out, Join(state, items, self.text()));
  return Value::Of(std::move(out));
}

template <Text (*kMap)(const Text&)>
absl::StatusOr<Value> MapMethod(RenderState& state, const Value& self, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  return Value::Of(kMap(self.text()));
}

Text PythonTitle(const Text& text) { return ToTitle(text, WordRule::kPython); }

template <Side kSide>
absl::StatusOr<Value> PadMethod(RenderState& state, const Value& self, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"width", "fillchar"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t width, IntegerOr(bound[0], 0));
  LIQUID_ASSIGN_OR_RETURN(const std::string* fill, StringOrNull(bound[1]));
  if (fill != nullptr && CountCodePoints(*fill) != 1) {
    return absl::InvalidArgumentError("the fill character must be one character");
  }
  LIQUID_ASSIGN_OR_RETURN(Text out,
                          Pad(state, self.text(), width, kSide,
                              fill == nullptr ? std::string_view(" ") : std::string_view(*fill)));
  return Value::Of(std::move(out));
}

absl::StatusOr<Value> ZeroFillMethod(RenderState& state, const Value& self,
                                     const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"width"}));
  LIQUID_ASSIGN_OR_RETURN(const int64_t width, IntegerOr(bound[0], 0));
  const Text& text = self.text();
  const bool sign = !text.empty() && (text.bytes()[0] == '-' || text.bytes()[0] == '+');
  Text out = text.Slice(0, sign);
  LIQUID_ASSIGN_OR_RETURN(const Text digits, Pad(state, text.Slice(sign, text.size()), width - sign,
                                                 Side::kRight, "0"));
  out.Append(digits);
  return Value::Of(std::move(out));
}

template <bool kPrefix>
absl::StatusOr<Value> RemoveAffixMethod(RenderState&, const Value& self,
                                        const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"affix"}));
  LIQUID_ASSIGN_OR_RETURN(const std::string* affix, RequiredString(bound[0]));
  const Text& text = self.text();
  const bool found = kPrefix ? text.bytes().starts_with(*affix) : text.bytes().ends_with(*affix);
  if (!found || affix->empty()) return self;
  return Value::Of(kPrefix ? text.Slice(affix->size(), text.size())
                           : text.Slice(0, text.size() - affix->size()));
}

template <bool (*kPredicate)(const Text&)>
absl::StatusOr<Value> PredicateMethod(RenderState& state, const Value& self,
                                      const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  return Value::Bool(kPredicate(self.text()));
}

bool AllSpace(const Text& text) {
  return !text.empty() && StripLeft(text.bytes(), nullptr) == text.size();
}

template <int (*kClass)(int)>
absl::StatusOr<Value> AsciiClassMethod(RenderState& state, const Value& self,
                                       const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  LIQUID_RETURN_IF_ERROR(state.ChargeText(self.text().size()));
  const std::string& bytes = self.bytes();
  for (const char c : bytes) {
    if (static_cast<unsigned char>(c) >= 0x80) {
      return absl::InvalidArgumentError("classes of characters are supported for ASCII only");
    }
    if (kClass(static_cast<unsigned char>(c)) == 0) return Value::Bool(false);
  }
  return Value::Bool(!bytes.empty());
}

int IsAsciiDigit(int c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
int IsAsciiAlpha(int c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }
int IsAsciiAlnum(int c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }

absl::StatusOr<Value> DictGet(RenderState&, const Value& self, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"key", "default"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("get() needs a key");
  const Value* found = self.dict().Find(*bound[0]);
  if (found != nullptr) return *found;
  return bound[1] == nullptr ? Value::None() : *bound[1];
}

enum class DictPart { kKeys, kValues, kItems };

template <DictPart kPart>
absl::StatusOr<Value> DictView(RenderState& state, const Value& self, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  const Dict& dict = self.dict();
  LIQUID_RETURN_IF_ERROR(state.Charge(static_cast<int64_t>(dict.entries.size())));
  std::vector<Value> items;
  items.reserve(dict.entries.size());
  for (const auto& [key, value] : dict.entries) {
    if (kPart == DictPart::kItems) {
      LIQUID_ASSIGN_OR_RETURN(Value pair, MakeList({key, value}, List::Kind::kTuple, dict.origin));
      items.push_back(std::move(pair));
    } else {
      items.push_back(kPart == DictPart::kKeys ? key : value);
    }
  }
  return MakeList(std::move(items), List::Kind::kView, dict.origin);
}

// Values never change, so a copy is the value itself.
absl::StatusOr<Value> CopyMethod(RenderState&, const Value& self, const Arguments& arguments) {
  LIQUID_RETURN_IF_ERROR(ExpectNoArguments(arguments));
  return self;
}

absl::StatusOr<Value> ListCount(RenderState& state, const Value& self, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"value"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("count() needs a value");
  LIQUID_RETURN_IF_ERROR(state.Charge(self.num_nodes()));
  const std::vector<Value>& items = self.list().items;
  return Value::Int(std::count_if(items.begin(), items.end(),
                                  [&](const Value& item) { return Equal(item, *bound[0]); }));
}

absl::StatusOr<Value> ListIndex(RenderState& state, const Value& self, const Arguments& arguments) {
  LIQUID_ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"value"}));
  if (bound[0] == nullptr) return absl::InvalidArgumentError("index() needs a value");
  LIQUID_RETURN_IF_ERROR(state.Charge(self.num_nodes()));
  const std::vector<Value>& items = self.list().items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (Equal(items[i], *bound[0])) return Value::Int(static_cast<int64_t>(i));
  }
  return absl::InvalidArgumentError("the value is not in the list");
}

absl::StatusOr<Value> Changes(RenderState&, const Value& self, const Arguments&) {
  return absl::InvalidArgumentError(Concat("a template may not change a ", self.type_name(),
                                           "; make another one with +, or use namespace()"));
}

absl::StatusOr<Value> Unsupported(RenderState&, const Value&, const Arguments&) {
  return absl::InvalidArgumentError("this method is not supported");
}

constexpr NamedMethod kStringMethods[] = {
    {"strip", StripMethod<Side::kBoth>},
    {"lstrip", StripMethod<Side::kLeft>},
    {"rstrip", StripMethod<Side::kRight>},
    {"split", SplitMethod<false>},
    {"rsplit", SplitMethod<true>},
    {"splitlines", SplitLinesMethod},
    {"partition", PartitionMethod<false>},
    {"rpartition", PartitionMethod<true>},
    {"startswith", StartsOrEndsWith<false>},
    {"endswith", StartsOrEndsWith<true>},
    {"find", FindMethod<false, false>},
    {"rfind", FindMethod<true, false>},
    {"index", FindMethod<false, true>},
    {"rindex", FindMethod<true, true>},
    {"count", CountMethod},
    {"replace", ReplaceMethod},
    {"join", JoinMethod},
    {"upper", MapMethod<ToUpper>},
    {"lower", MapMethod<ToLower>},
    {"title", MapMethod<PythonTitle>},
    {"capitalize", MapMethod<Capitalize>},
    {"swapcase", MapMethod<SwapCase>},
    {"center", PadMethod<Side::kBoth>},
    {"ljust", PadMethod<Side::kLeft>},
    {"rjust", PadMethod<Side::kRight>},
    {"zfill", ZeroFillMethod},
    {"removeprefix", RemoveAffixMethod<true>},
    {"removesuffix", RemoveAffixMethod<false>},
    {"isspace", PredicateMethod<AllSpace>},
    {"isupper", PredicateMethod<IsUpper>},
    {"islower", PredicateMethod<IsLower>},
    {"isdigit", AsciiClassMethod<IsAsciiDigit>},
    {"isdecimal", AsciiClassMethod<IsAsciiDigit>},
    {"isnumeric", AsciiClassMethod<IsAsciiDigit>},
    {"isalpha", AsciiClassMethod<IsAsciiAlpha>},
    {"isalnum", AsciiClassMethod<IsAsciiAlnum>},
    {"format", Unsupported},
    {"format_map", Unsupported},
    {"encode", Unsupported},
    {"casefold", Unsupported},
    {"expandtabs", Unsupported},
    {"isascii", Unsupported},
    {"isidentifier", Unsupported},
    {"isprintable", Unsupported},
    {"istitle", Unsupported},
    {"maketrans", Unsupported},
    {"translate", Unsupported},
};

constexpr NamedMethod kDictMethods[] = {
    {"get", DictGet},
    {"items", DictView<DictPart::kItems>},
    {"keys", DictView<DictPart::kKeys>},
    {"values", DictView<DictPart::kValues>},
    {"copy", CopyMethod},
    {"pop", Changes},
    {"popitem", Changes},
    {"clear", Changes},
    {"update", Changes},
    {"setdefault", Changes},
    {"fromkeys", Unsupported},
};

constexpr NamedMethod kListMethods[] = {
    {"count", ListCount}, {"index", ListIndex}, {"copy", CopyMethod}, {"append", Changes},
    {"extend", Changes},  {"insert", Changes},  {"pop", Changes},     {"remove", Changes},
    {"clear", Changes},   {"sort", Changes},    {"reverse", Changes},
};

absl::Span<const NamedMethod> MethodsOf(const Value& object) {
  if (object.is_text()) return kStringMethods;
  if (object.is_dict()) return kDictMethods;
  if (!object.is_list()) return {};
  const absl::Span<const NamedMethod> all = kListMethods;
  if (object.list().kind == List::Kind::kList) return all;
  return object.list().kind == List::Kind::kTuple ? all.subspan(0, 2)
                                                  : absl::Span<const NamedMethod>();
}

Method FindNamed(const Value& object, std::string_view name) {
  for (const NamedMethod& method : MethodsOf(object)) {
    if (method.name == name) return method.method;
  }
  return nullptr;
}

}  // namespace

bool HasMethod(const Value& object, std::string_view name) {
  return FindNamed(object, name) != nullptr;
}

absl::StatusOr<Value> CallMethod(RenderState& state, const Value& object, std::string_view name,
                                 const Arguments& arguments) {
  absl::StatusOr<Value> result = FindNamed(object, name)(state, object, arguments);
  if (result.ok()) return result;
  return Annotate(result.status(), Concat(object.type_name(), ".", name, "()"));
}

}  // namespace liquid::jinja
