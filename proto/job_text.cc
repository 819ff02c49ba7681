// The other way round from job_loader.cc: a Job as text, for people and for its digest.
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/hash.h"
#include "proto/job_fields.h"
#include "proto/job_loader.h"

namespace liquid {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// In double quotes, which every YAML reader takes for text.
std::string QuoteForYaml(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", std::string(1, c));
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&quoted, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

// The values of a field as texts; texts go through `quote`.
template <typename Quote>
std::vector<std::string> ValuesOf(const Message& message, const FieldDescriptor* field,
                                  const Quote& quote) {
  const auto& reflection = *message.GetReflection();
  if (field->is_repeated()) {
    std::vector<std::string> values;
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      values.push_back(
          field->cpp_type() == FieldDescriptor::CPPTYPE_STRING
              ? quote(reflection.GetRepeatedString(message, field, i))
              : absl::StrFormat("%.17g", reflection.GetRepeatedDouble(message, field, i)));
    }
    return values;
  }
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return {quote(reflection.GetString(message, field))};
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return {absl::StrFormat("%.17g", reflection.GetDouble(message, field))};
    case FieldDescriptor::CPPTYPE_BOOL:
      return {reflection.GetBool(message, field) ? "true" : "false"};
    case FieldDescriptor::CPPTYPE_INT32:
      return {absl::StrCat(reflection.GetInt32(message, field))};
    case FieldDescriptor::CPPTYPE_INT64:
      return {absl::StrCat(reflection.GetInt64(message, field))};
    case FieldDescriptor::CPPTYPE_UINT64:
      return {absl::StrCat(reflection.GetUInt64(message, field))};
    default:
      LIQUID_CHECK(false, field->full_name());
      return {};
  }
}

// The field of that path, and the message that it is of.
std::pair<const Message*, const FieldDescriptor*> FieldAt(const Job& job, std::string_view path) {
  const std::vector<std::string> names = absl::StrSplit(std::string(path), '.');
  const Message* message = &job;
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    message = &message->GetReflection()->GetMessage(
        *message, message->GetDescriptor()->FindFieldByName(names[i]));
  }
  return {message, message->GetDescriptor()->FindFieldByName(names.back())};
}

bool IsList(const Job& job, std::string_view path) {
  return FieldAt(job, path).second->is_repeated();
}

template <typename Quote>
std::vector<std::string> ValuesAt(const Job& job, std::string_view path, const Quote& quote) {
  const auto [message, field] = FieldAt(job, path);
  return ValuesOf(*message, field, quote);
}

// "0.1" where %.17g says 0.10000000000000001: the shortest digits that give the number back.
std::string Shortest(const std::string& number) {
  double value = 0;
  LIQUID_CHECK(absl::SimpleAtod(number, &value), number);
  for (int digits = 1; digits < 17; ++digits) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    double back = 0;
    if (absl::SimpleAtod(text, &back) && back == value) return text;
  }
  return number;
}

// What of a mixture decides the result of a job: not where its files are.
std::string MixDecides(const Data& data) {
  std::vector<std::string> sources;
  for (const MixedSource& source : data.mix()) {
    sources.push_back(source.weight() > 0
                          ? absl::StrFormat("%s weight %.17g", source.name(), source.weight())
                          : absl::StrFormat("%s epochs %.17g", source.name(), source.epochs()));
  }
  return absl::StrJoin(sources, ", ");
}

std::string MixYaml(const Data& data) {
  if (data.mix().empty()) return "  mix: null\n";
  std::string yaml = "  mix:\n";
  for (const MixedSource& source : data.mix()) {
    std::vector<std::string> files;
    for (const std::string& file : source.files()) files.push_back(QuoteForYaml(file));
    const bool by_weight = source.weight() > 0;
    absl::StrAppend(
        &yaml, "    - {name: ", QuoteForYaml(source.name()), ", files: [",
        absl::StrJoin(files, ", "), "], ", by_weight ? "weight: " : "epochs: ",
        Shortest(absl::StrFormat("%.17g", by_weight ? source.weight() : source.epochs())), "}\n");
  }
  return yaml;
}

// The fields that decide the result of a job, and their values, in the order of JobFields().
std::vector<std::pair<std::string, std::string>> DecisiveValues(const Job& job) {
  static const auto& excluded = *new std::set<std::string_view>{
      "job", "model.recompute", "data.max_bad_rows", "training.eval_every_steps",
      "training.eval_at_start", "training.eval_samples", "training.eval_sample_tokens",
      // They change bits, but not what is computed: a checkpoint of one layout is one of any other.
      "model.tensor_parallel", "model.sequence_parallel", "training.shard", "training.device"};
  const auto as_it_is = [](const std::string& value) { return value; };
  std::vector<std::pair<std::string, std::string>> values;
  for (const JobField& field : JobFields()) {
    const bool is_path = field.kind == FieldKind::kJobPath || field.kind == FieldKind::kWorkPath;
    if (field.path == "data.mix.name") values.emplace_back("data.mix", MixDecides(job.data()));
    if (IsOfListItem(field) || is_path || excluded.contains(field.path) ||
        field.path.starts_with("checkpoint.") || field.path.starts_with("coordinator.")) {
      continue;
    }
    values.emplace_back(std::string(field.path),
                        absl::StrJoin(ValuesAt(job, field.path, as_it_is), ","));
  }
  return values;
}

}  // namespace

std::string EffectiveYaml(const Job& job) {
  std::string yaml;
  std::string section;
  for (const JobField& field : JobFields()) {
    const std::vector<std::string> names = absl::StrSplit(std::string(field.path), '.');
    if (names.size() == 2 && names[0] != section) {
      section = names[0];
      absl::StrAppend(&yaml, section, ":\n");
    }
    if (field.path == "data.mix.name") yaml += MixYaml(job.data());
    if (IsOfListItem(field)) continue;
    std::vector<std::string> values = ValuesAt(job, field.path, QuoteForYaml);
    const bool is_list = IsList(job, field.path);
    const bool is_unset = (!is_list && values[0] == "\"\"") ||
                          (field.path == "model.init_seed" && job.model().config().empty());
    if (field.kind == FieldKind::kNumber) {
      for (std::string& value : values) {
        if (value.find_first_of(".e") != std::string::npos) value = Shortest(value);
      }
    }
    const std::string text = absl::StrJoin(values, ", ");
    absl::StrAppend(&yaml, names.size() == 2 ? "  " : "", names.back(), ": ",
                    is_unset ? "null" : (is_list ? absl::StrCat("[", text, "]") : text), "\n");
  }
  return yaml;
}

std::string JobDigest(const Job& job) {
  std::string text = "liquid job 1\n";
  for (const auto& [path, value] : DecisiveValues(job))
    absl::StrAppend(&text, path, "=", value, "\n");
  return Sha256Hex(text);
}

std::string DescribeDifference(const Job& before, const Job& now) {
  const auto old_values = DecisiveValues(before);
  const auto new_values = DecisiveValues(now);
  std::vector<std::string> differences;
  for (size_t i = 0; i < new_values.size(); ++i) {
    const auto& [path, value] = new_values[i];
    const std::string& old_value = old_values[i].second;
    if (value != old_value) {
      differences.push_back(absl::StrCat(path, " was ", old_value, ", is ", value));
    }
  }
  return absl::StrJoin(differences, "; ");
}

}  // namespace liquid
