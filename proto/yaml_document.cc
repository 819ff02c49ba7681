#include "proto/yaml_document.h"

#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "yaml-cpp/anchor.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace liquid {
namespace {

constexpr int kMaxDepth = 32;
constexpr int kMaxParts = 100000;  // aliases may blow a short text up

class TreeBuilder {
 public:
  explicit TreeBuilder(std::string name) : name_(std::move(name)) {}

  absl::StatusOr<YamlNode> Build(const YAML::Node& source, int depth) {
    YamlNode node;
    node.where = Where(source.Mark());
    if (depth > kMaxDepth || ++num_parts_ > kMaxParts) {
      return absl::InvalidArgumentError(
          absl::StrCat(node.where, ": nested too deeply, or too large"));
    }
    switch (source.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return node;
      case YAML::NodeType::Scalar:
        node.kind = YamlNode::Kind::kScalar;
        node.text = source.Scalar();
        node.quoted = source.Tag() == "!";  // yaml-cpp's mark of a scalar that is not plain
        return node;
      case YAML::NodeType::Sequence:
        node.kind = YamlNode::Kind::kSequence;
        for (const YAML::Node& item : source) {
          LIQUID_ASSIGN_OR_RETURN(YamlNode child, Build(item, depth + 1));
          node.children.push_back(std::move(child));
        }
        return node;
      case YAML::NodeType::Map:
        break;
    }
    LIQUID_RETURN_IF_ERROR(BuildMap(source, depth, &node));
    return node;
  }

  std::string Where(const YAML::Mark& mark) const {
    if (mark.is_null()) return name_;
    return absl::StrCat(name_, ":", mark.line + 1, ":", mark.column + 1);
  }

 private:
  absl::Status BuildMap(const YAML::Node& source, int depth, YamlNode* node) {
    node->kind = YamlNode::Kind::kMap;
    for (const auto& entry : source) {
      const std::string key_where = Where(entry.first.Mark());
      if (!entry.first.IsScalar()) {
        return absl::InvalidArgumentError(absl::StrCat(key_where, ": a key must be a name"));
      }
      const std::string key = entry.first.Scalar();
      if (const YamlNode* first = node->Find(key); first != nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(
            key_where, ": key '", key, "' is there twice, first at ", first->key_where));
      }
      LIQUID_ASSIGN_OR_RETURN(YamlNode child, Build(entry.second, depth + 1));
      child.key = key;
      child.key_where = key_where;
      node->children.push_back(std::move(child));
    }
    return absl::OkStatus();
  }

  const std::string name_;
  int num_parts_ = 0;
};

// Notes where the latest document begins.
class DocumentStarts final : public YAML::EventHandler {
 public:
  const YAML::Mark& latest() const { return latest_; }

  void OnDocumentStart(const YAML::Mark& mark) override { latest_ = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  YAML::Mark latest_;
};

}  // namespace

const YamlNode* YamlNode::Find(std::string_view name) const {
  if (kind != Kind::kMap) return nullptr;
  for (const YamlNode& child : children) {
    if (child.key == name) return &child;
  }
  return nullptr;
}

absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& name) {
  TreeBuilder builder(name);
  try {
    // Not LoadAll, which takes a text like "," for empty documents without end.
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStarts starts;
    if (!parser.HandleNextDocument(starts)) {
      YamlNode nothing;
      nothing.where = absl::StrCat(name, ":1:1");
      return nothing;
    }
    if (parser.HandleNextDocument(starts)) {
      return absl::InvalidArgumentError(
          absl::StrCat(builder.Where(starts.latest()), ": only one document is allowed"));
    }
    return builder.Build(YAML::Load(text), 0);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(builder.Where(error.mark), ": ", error.msg));
  }
}

}  // namespace liquid
