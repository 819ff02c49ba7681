#include "proto/job_loader.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"
#include "proto/job_fields.h"
#include "proto/yaml_document.h"

namespace liquid {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

template <typename... Args>
absl::Status Refuse(const std::string& where, const Args&... what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what...));
}

// `path` as people read it: 'training.epochs'.
std::string Quoted(const std::string& path) { return absl::StrCat("'", path, "'"); }

std::string Written(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "null";
    case YamlNode::Kind::kScalar:
      return node.quoted ? absl::StrCat("\"", node.text, "\"") : node.text;
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map of keys";
  }
  return "";
}

// What was wanted where something else is written.
std::string Got(const YamlNode& node) {
  const bool text = node.kind == YamlNode::Kind::kScalar;
  return absl::StrCat("got ", text ? absl::StrCat("\"", node.text, "\"") : Written(node));
}

bool IsPlainScalar(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && !node.quoted;
}

// Puts the values of a YAML tree into the fields of a Job.
class JobMapper {
 public:
  JobMapper(std::string file_directory, Job* job)
      : file_directory_(std::move(file_directory)), job_(job) {}

  absl::Status Map(const YamlNode& root) {
    if (root.kind != YamlNode::Kind::kMap) {
      return Refuse(root.where, "a job file is a map of keys, ", Got(root));
    }
    return MapMessage(root, "", job_);
  }

  // Whether the file, or an override, gives the field a value.
  bool IsGiven(const std::string& path) const { return given_.contains(path); }

  absl::Status SetDefaults() {
    for (const JobField& field : JobFields()) {
      const std::string path(field.path);
      if (IsGiven(path) || field.default_yaml == "null") continue;
      const auto tree = ParseYaml(std::string(field.default_yaml), "default of " + path);
      LIQUID_CHECK(tree.ok(), path);
      const std::vector<std::string> names = absl::StrSplit(path, '.');
      Message* message = job_;
      for (size_t i = 0; i + 1 < names.size(); ++i) {
        message = message->GetReflection()->MutableMessage(
            message, message->GetDescriptor()->FindFieldByName(names[i]));
      }
      LIQUID_RETURN_IF_ERROR(
          SetField(*tree, field, message, message->GetDescriptor()->FindFieldByName(names.back())));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status MapMessage(const YamlNode& node, const std::string& prefix, Message* message) {
    const Descriptor& descriptor = *message->GetDescriptor();
    for (const YamlNode& child : node.children) {
      const std::string path = prefix.empty() ? child.key : absl::StrCat(prefix, ".", child.key);
      const FieldDescriptor* field = descriptor.FindFieldByName(child.key);
      if (field == nullptr) return UnknownKey(child, prefix, descriptor);
      if (child.kind == YamlNode::Kind::kNull) continue;
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        if (field->is_repeated()) {
          LIQUID_RETURN_IF_ERROR(MapList(child, path, message, field));
          continue;
        }
        if (child.kind != YamlNode::Kind::kMap) {
          return Refuse(child.where, Quoted(path), " wants a map of keys, ", Got(child));
        }
        Message* inner = message->GetReflection()->MutableMessage(message, field);
        LIQUID_RETURN_IF_ERROR(MapMessage(child, path, inner));
        continue;
      }
      const JobField* rule = FindJobField(path);
      LIQUID_CHECK(rule != nullptr, path, " has no entry in JobFields()");
      given_.insert(path);
      LIQUID_RETURN_IF_ERROR(SetField(child, *rule, message, field));
    }
    return absl::OkStatus();
  }

  // A list of maps: a message each.
  absl::Status MapList(const YamlNode& node, const std::string& path, Message* message,
                       const FieldDescriptor* field) {
    if (node.kind != YamlNode::Kind::kSequence) {
      return Refuse(node.where, Quoted(path), " wants a list, ", Got(node));
    }
    for (const YamlNode& item : node.children) {
      if (item.kind != YamlNode::Kind::kMap) {
        return Refuse(item.where, Quoted(path), " wants a list of maps, ", Got(item));
      }
      LIQUID_RETURN_IF_ERROR(
          MapMessage(item, path, message->GetReflection()->AddMessage(message, field)));
    }
    return absl::OkStatus();
  }

  static absl::Status UnknownKey(const YamlNode& node, const std::string& prefix,
                                 const Descriptor& descriptor) {
    std::vector<std::string> names;
    for (int i = 0; i < descriptor.field_count(); ++i) names.push_back(descriptor.field(i)->name());
    std::string guess = DidYouMean(node.key, names);
    for (const JobField& field : JobFields()) {  // the right key in the wrong place?
      if (IsOfListItem(field)) continue;
      if (guess.empty() && absl::StrCat(".", std::string(field.path)).ends_with("." + node.key)) {
        guess = std::string(field.path);
      }
    }
    return Refuse(node.key_where, "unknown key ", Quoted(node.key), " in ",
                  prefix.empty() ? "the job file" : Quoted(prefix), "; ",
                  guess.empty() ? absl::StrCat("known are ", absl::StrJoin(names, ", "))
                                : absl::StrCat("did you mean ", Quoted(guess), "?"));
  }

  absl::Status SetField(const YamlNode& node, const JobField& rule, Message* message,
                        const FieldDescriptor* field) {
    if (!field->is_repeated()) return SetValue(node, rule, message, field);
    message->GetReflection()->ClearField(message, field);
    const bool is_text = field->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
    if (is_text && node.kind == YamlNode::Kind::kScalar) {  // one file needs no brackets
      return SetValue(node, rule, message, field);
    }
    if (node.kind != YamlNode::Kind::kSequence) {
      return Refuse(node.where, Quoted(std::string(rule.path)), " wants a list, ", Got(node));
    }
    for (const YamlNode& item : node.children) {
      LIQUID_RETURN_IF_ERROR(SetValue(item, rule, message, field));
    }
    return absl::OkStatus();
  }

  // Sets a field, or adds to a repeated one.
  absl::Status SetValue(const YamlNode& node, const JobField& rule, Message* message,
                        const FieldDescriptor* field) {
    const std::string name = Quoted(std::string(rule.path));
    switch (rule.kind) {
      case FieldKind::kSwitch:
        if (!IsPlainScalar(node) || (node.text != "true" && node.text != "false")) {
          return Refuse(node.where, name, " wants true or false, ", Got(node));
        }
        message->GetReflection()->SetBool(message, field, node.text == "true");
        return absl::OkStatus();
      case FieldKind::kNumber:
      case FieldKind::kBytes:
        return SetNumber(node, rule, message, field);
      default:
        return SetText(node, rule, message, field);
    }
  }

  static absl::Status SetNumber(const YamlNode& node, const JobField& rule, Message* message,
                                const FieldDescriptor* field) {
    const std::string name = Quoted(std::string(rule.path));
    const Reflection& reflection = *message->GetReflection();
    const bool is_real = field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
    const bool is_bytes = rule.kind == FieldKind::kBytes;
    const std::string wants = is_real    ? " wants a number, "
                              : is_bytes ? " wants a size such as 500MB or 5GB, "
                                         : " wants a whole number, ";
    double real = 0;
    int64_t whole = 0;
    uint64_t natural = 0;
    bool is_number = is_bytes ? node.kind == YamlNode::Kind::kScalar : IsPlainScalar(node);
    if (is_bytes) {
      is_number = is_number && ParseBytes(node.text, &whole);
    } else if (is_real) {
      is_number = is_number && absl::SimpleAtod(node.text, &real) && std::isfinite(real);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
      is_number = is_number && absl::SimpleAtoi(node.text, &natural);
    } else {
      is_number = is_number && absl::SimpleAtoi(node.text, &whole);
    }
    if (!is_number) return Refuse(node.where, name, wants, Got(node));
    const absl::Status range =
        CheckRange(rule, is_real ? real : static_cast<double>(whole), node.text);
    if (!range.ok()) return Refuse(node.where, name, " ", std::string(range.message()));
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE:
        field->is_repeated() ? reflection.AddDouble(message, field, real)
                             : reflection.SetDouble(message, field, real);
        break;
      case FieldDescriptor::CPPTYPE_INT32:
        if (whole != static_cast<int32_t>(whole)) {
          return Refuse(node.where, name, " is too large, ", Got(node));
        }
        reflection.SetInt32(message, field, static_cast<int32_t>(whole));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        reflection.SetInt64(message, field, whole);
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        reflection.SetUInt64(message, field, natural);
        break;
      default:
        LIQUID_CHECK(false, name);
    }
    return absl::OkStatus();
  }

  absl::Status SetText(const YamlNode& node, const JobField& rule, Message* message,
                       const FieldDescriptor* field) {
    const std::string name = Quoted(std::string(rule.path));
    if (node.kind != YamlNode::Kind::kScalar) {
      return Refuse(node.where, name, " wants a text, ", Got(node));
    }
    if (node.text.empty()) return Refuse(node.where, name, " is empty");
    std::string text = node.text;
    if (rule.kind == FieldKind::kChoice) {
      bool found = false;
      for (const std::string_view choice : rule.choices) found = found || choice == text;
      if (!found) return RefuseChoice(node, rule);
    } else if (rule.kind == FieldKind::kJobPath) {
      text = AbsolutePath(JoinPath(file_directory_, text));
    } else if (rule.kind == FieldKind::kWorkPath) {
      text = AbsolutePath(text);
    }
    const Reflection& reflection = *message->GetReflection();
    field->is_repeated() ? reflection.AddString(message, field, text)
                         : reflection.SetString(message, field, text);
    return absl::OkStatus();
  }

  static absl::Status RefuseChoice(const YamlNode& node, const JobField& rule) {
    const std::vector<std::string> choices(rule.choices.begin(), rule.choices.end());
    const std::string guess = DidYouMean(node.text, choices);
    return Refuse(node.where, Quoted(std::string(rule.path)), " must be ",
                  absl::StrJoin(choices, " or "), ", ", Got(node), std::string(rule.remark),
                  guess.empty() ? "" : absl::StrCat("; did you mean ", Quoted(guess), "?"));
  }

  const std::string file_directory_;
  Job* job_;
  std::set<std::string> given_;
};

// Where the value of `path` stands, or the key nearest to where it should.
std::string WhereOf(const YamlNode& root, const std::string& path) {
  const YamlNode* node = &root;
  std::string where = root.where;
  for (const auto& name : absl::StrSplit(path, '.')) {
    node = node->Find(std::string(name));
    if (node == nullptr) break;
    where = node->kind == YamlNode::Kind::kScalar ? node->where : node->key_where;
  }
  return where;
}

absl::Status CheckListen(const std::string& listen, const std::string& where) {
  const size_t colon = listen.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return Refuse(where, "'coordinator.listen' must be HOST:PORT, got \"", listen, "\"");
  }
  return absl::OkStatus();
}

absl::Status CheckMix(const Data& data, const std::string& where) {
  if (data.mix().empty()) return absl::OkStatus();
  if (!data.train().empty()) {
    return Refuse(where, "'data.mix' stands in place of 'data.train': give one of them");
  }
  std::set<std::string> names;
  for (int i = 0; i < data.mix_size(); ++i) {
    const MixedSource& source = data.mix(i);
    const std::string name = absl::StrCat("'data.mix' source ", i + 1);
    if (source.name().empty()) return Refuse(where, name, " has no 'name'");
    if (!names.insert(source.name()).second) {
      return Refuse(where, name, " has the name of another, '", source.name(), "'");
    }
    if (source.files().empty()) return Refuse(where, name, ", ", source.name(), ", has no 'files'");
    if ((source.epochs() > 0) == (source.weight() > 0)) {
      return Refuse(where, name, ", ", source.name(), ", wants either 'epochs' or 'weight'");
    }
    if ((source.weight() > 0) != (data.mix(0).weight() > 0)) {
      return Refuse(where, name, ", ", source.name(), ": give all sources epochs, or all weights");
    }
  }
  return absl::OkStatus();
}

// What no field can tell on its own.
absl::Status CheckTogether(const YamlNode& root, const JobMapper& mapper, const Job& job) {
  const auto at = [&root](const std::string& path) { return WhereOf(root, path); };
  if (job.output().empty()) {
    return Refuse(at("output"), "'output' is missing: the directory for ledger and checkpoints");
  }
  const ModelSource& model = job.model();
  if (model.from().empty() == model.config().empty()) {
    return Refuse(at("model"), "'model' wants exactly one of 'from' (a model directory) and ",
                  "'config' (a config.json, for random weights)");
  }
  if (!model.config().empty() && model.tokenizer().empty()) {
    return Refuse(at("model.config"), "'model.tokenizer' is missing: 'model.config' needs it");
  }
  const bool seeded = mapper.IsGiven("model.init_seed");
  if (!model.config().empty() && !seeded) {
    return Refuse(at("model.config"), "'model.init_seed' is missing: 'model.config' needs it");
  }
  if (!model.from().empty() && seeded) {
    return Refuse(at("model.init_seed"), "'model.init_seed' goes with 'model.config' only");
  }
  if (!std::has_single_bit(static_cast<unsigned>(model.tensor_parallel()))) {
    return Refuse(at("model.tensor_parallel"), "'model.tensor_parallel' must be 1, 2, 4 or 8, got ",
                  model.tensor_parallel());
  }
  if (job.data().train().empty() && job.data().mix().empty()) {
    return Refuse(at("data.train"), "'data.train' is missing: the files to train on");
  }
  if (job.adapter().rank() > 0 && job.training().freeze_size() > 0) {
    return Refuse(at("training.freeze"), "'training.freeze' is for training without 'adapter', ",
                  "which leaves all weights of the model as they are");
  }
  if (job.adapter().rank() > 0 && model.from().empty()) {
    return Refuse(at("adapter"), "'adapter' wants 'model.from': adapters are nothing without the ",
                  "weights that they are beside");
  }
  if (root.Find("adapter") != nullptr && !mapper.IsGiven("adapter.rank")) {
    return Refuse(at("adapter"), "'adapter.rank' is missing: a whole number of at least 1");
  }
  if (job.training().eval_samples() > 0 && job.data().eval().empty()) {
    return Refuse(at("training.eval_samples"),
                  "'training.eval_samples' needs 'data.eval': the conversations to answer");
  }
  LIQUID_RETURN_IF_ERROR(CheckMix(job.data(), at("data.mix")));
  if (job.optimizer().betas_size() != 2) {
    return Refuse(at("optimizer.betas"), "'optimizer.betas' wants two numbers, got ",
                  job.optimizer().betas_size());
  }
  return CheckListen(job.coordinator().listen(), at("coordinator.listen"));
}

void SetWhere(const std::string& where, YamlNode* node) {
  node->where = where;
  node->key_where = where;
  for (YamlNode& child : node->children) SetWhere(where, &child);
}

// Puts "a.b=c" into the tree, whatever was there.
absl::Status Override(const std::string& text, YamlNode* root) {
  const std::string where = absl::StrCat("--set ", text);
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Refuse(where, "wants KEY=VALUE, such as training.epochs=3");
  }
  LIQUID_ASSIGN_OR_RETURN(YamlNode value, ParseYaml(text.substr(equals + 1), where));
  const std::vector<std::string> names = absl::StrSplit(text.substr(0, equals), '.');
  YamlNode* node = root;
  for (const std::string& name : names) {
    if (node->kind != YamlNode::Kind::kMap) {  // the override counts, not what stood there
      node->kind = YamlNode::Kind::kMap;
      node->children.clear();
      SetWhere(where, node);
    }
    if (node->Find(name) == nullptr) {
      YamlNode child;
      child.key = name;
      SetWhere(where, &child);
      node->children.push_back(std::move(child));
    }
    node = const_cast<YamlNode*>(node->Find(name));
  }
  value.key = node->key;
  SetWhere(where, &value);
  *node = std::move(value);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Job> LoadJob(const std::string& path, absl::Span<const std::string> overrides) {
  LIQUID_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseJob(text, path, overrides);
}

absl::StatusOr<Job> ParseJob(const std::string& text, const std::string& path,
                             absl::Span<const std::string> overrides) {
  LIQUID_ASSIGN_OR_RETURN(YamlNode root, ParseYaml(text, path));
  for (const std::string& item : overrides) LIQUID_RETURN_IF_ERROR(Override(item, &root));
  const std::filesystem::path file(AbsolutePath(path));
  Job job;
  JobMapper mapper(file.parent_path().string(), &job);
  LIQUID_RETURN_IF_ERROR(mapper.Map(root));
  LIQUID_RETURN_IF_ERROR(mapper.SetDefaults());
  LIQUID_RETURN_IF_ERROR(CheckTogether(root, mapper, job));
  if (job.job().empty()) job.set_job(file.stem().string());
  if (job.model().tokenizer().empty()) job.mutable_model()->set_tokenizer(job.model().from());
  std::string* resume = job.mutable_checkpoint()->mutable_resume();
  if (*resume != "auto" && *resume != "never") *resume = AbsolutePath(*resume);
  return job;
}

}  // namespace liquid
