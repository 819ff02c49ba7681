#include "data/jinja/format_string.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/print.h"
#include "data/jinja/utf8.h"

namespace liquid::jinja {
namespace {

constexpr int kMaxWidth = 10'000;

struct Conversion {
  bool left = false;
  bool zero = false;
  bool plus = false;
  int width = 0;
  int precision = -1;
  char letter = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(RenderState& state, const Text& format, const Value& values)
      : state_(state), format_(format), source_(format.bytes()), values_(values) {}

  absl::StatusOr<Value> Run() {
    size_t literal = 0;
    while ((position_ = source_.find('%', position_)) != std::string_view::npos) {
      out_.Append(format_.Slice(literal, position_));
      ++position_;
      LIQUID_RETURN_IF_ERROR(Convert());
      LIQUID_RETURN_IF_ERROR(state_.ChargeAppend(out_.size(), 1));
      literal = position_;
    }
    out_.Append(format_.Slice(literal, source_.size()));
    if (!keyed_ && num_used_ < NumValues() && !values_.is_dict()) {
      return absl::InvalidArgumentError("not all arguments were used by the format string");
    }
    LIQUID_RETURN_IF_ERROR(state_.ChargeText(out_.size()));
    return Value::Of(std::move(out_));
  }

 private:
  bool IsTuple() const { return values_.is_list() && values_.list().kind == List::Kind::kTuple; }
  size_t NumValues() const { return IsTuple() ? values_.list().items.size() : 1; }

  char Peek() const { return position_ < source_.size() ? source_[position_] : '\0'; }

  int TakeNumber() {
    int number = 0;
    for (; absl::ascii_isdigit(static_cast<unsigned char>(Peek())); ++position_) {
      number = std::min(number * 10 + (Peek() - '0'), kMaxWidth);
    }
    return number;
  }

  absl::Status Convert() {
    const Value* value = nullptr;
    if (Peek() == '(') {
      const size_t end = source_.find(')', position_);
      if (end == std::string_view::npos || !values_.is_dict()) {
        return absl::InvalidArgumentError("%(name) in a format string needs a dict");
      }
      value = values_.dict().Find(source_.substr(position_ + 1, end - position_ - 1));
      if (value == nullptr) return absl::InvalidArgumentError("the format names a missing key");
      keyed_ = true;
      position_ = end + 1;
    }
    Conversion conversion;
    for (;; ++position_) {
      if (Peek() == '-')
        conversion.left = true;
      else if (Peek() == '0')
        conversion.zero = true;
      else if (Peek() == '+')
        conversion.plus = true;
      else
        break;
    }
    conversion.width = TakeNumber();
    if (Peek() == '.') {
      ++position_;
      conversion.precision = TakeNumber();
    }
    conversion.letter = Peek();
    ++position_;
    if (conversion.letter == '%') {
      out_.Append("%", format_.MainOrigin());
      return absl::OkStatus();
    }
    if (value == nullptr) {
      if (num_used_ >= NumValues()) {
        return absl::InvalidArgumentError("not enough arguments for the format string");
      }
      value = IsTuple() ? &values_.list().items[num_used_] : &values_;
      ++num_used_;
    }
    return Print(conversion, *value);
  }

  absl::Status Print(const Conversion& conversion, const Value& value) {
    Text text;
    switch (conversion.letter) {
      case 's':
      case 'r': {
        LIQUID_ASSIGN_OR_RETURN(
            text, conversion.letter == 's' ? ToText(state_, value) : ToRepr(state_, value));
        if (conversion.precision >= 0) {
          text = text.Slice(0, ByteOffset(text.bytes(), static_cast<size_t>(conversion.precision)));
        }
        break;
      }
      case 'd':
      case 'i':
      case 'x':
      case 'o':
      case 'f': {
        if (!value.is_number()) {
          return absl::InvalidArgumentError(
              Concat("%", std::string(1, conversion.letter), " needs a number"));
        }
        text = Text(Number(conversion, value));
        break;
      }
      default:
        return absl::InvalidArgumentError(
            Concat("the conversion '%", std::string(1, conversion.letter), "' is not supported"));
    }
    const size_t size = CountCodePoints(text.bytes());
    const auto width = static_cast<size_t>(conversion.width);
    const std::string padding(width > size ? width - size : 0, ' ');
    if (!conversion.left) out_.Append(padding, text.MainOrigin());
    out_.Append(text);
    if (conversion.left) out_.Append(padding, text.MainOrigin());
    return absl::OkStatus();
  }

  static std::string Number(const Conversion& conversion, const Value& value) {
    const bool negative = value.number() < 0;
    std::string digits;
    if (conversion.letter == 'f') {
      digits = absl::StrFormat("%.*f",
                               std::min(conversion.precision < 0 ? 6 : conversion.precision, 100),
                               std::abs(value.number()));
    } else {
      const int64_t integer =
          value.is_float() ? static_cast<int64_t>(std::clamp(value.number(), -9.2e18, 9.2e18))
                           : value.integer();
      const uint64_t magnitude =
          negative ? uint64_t{0} - static_cast<uint64_t>(integer) : static_cast<uint64_t>(integer);
      digits = conversion.letter == 'x'   ? absl::StrFormat("%x", magnitude)
               : conversion.letter == 'o' ? absl::StrFormat("%o", magnitude)
                                          : Concat(magnitude);
    }
    const std::string sign = negative ? "-" : conversion.plus ? "+" : "";
    const size_t size = digits.size() + sign.size();
    const auto width = static_cast<size_t>(conversion.width);
    const bool pad = conversion.zero && !conversion.left && width > size;
    return Concat(sign, std::string(pad ? width - size : 0, '0'), digits);
  }

  RenderState& state_;
  const Text& format_;
  const std::string_view source_;
  const Value& values_;
  size_t position_ = 0;
  size_t num_used_ = 0;
  bool keyed_ = false;
  Text out_;
};

}  // namespace

absl::StatusOr<Value> FormatPercent(RenderState& state, const Value& format, const Value& values) {
  return PercentFormatter(state, format.text(), values).Run();
}

}  // namespace liquid::jinja
