#include "data/chat_template.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/status.h"
#include "data/concat.h"
#include "data/jinja/value.h"
#include "data/turn_ranges.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;
using jinja::Origin;
using jinja::Value;
using Variables = std::vector<std::pair<std::string, Value>>;

constexpr std::string_view kTrainKey = "train";

bool IsAssistant(const Json& message) {
  const auto role = message.find("role");
  return role != message.end() && role->is_string() && (*role == "assistant" || *role == "model");
}

// Everything that a message says has the message as its origin. Its role is part of the header.
absl::StatusOr<Value> MessageValue(const Json& message, int32_t index) {
  std::vector<std::pair<Value, Value>> entries;
  const Origin origin{.message = index};
  for (const auto& [key, item] : message.items()) {
    if (key == kTrainKey) continue;
    const Origin own = key == "role" ? Origin() : origin;
    LIQUID_ASSIGN_OR_RETURN(Value value, jinja::FromJson(item, own));
    entries.emplace_back(Value::Of(jinja::Text(key, own)), std::move(value));
  }
  return jinja::MakeDict(std::move(entries), origin);
}

absl::StatusOr<Value> MessagesValue(const Json& messages) {
  std::vector<Value> items;
  for (size_t i = 0; i < messages.size(); ++i) {
    absl::StatusOr<Value> value = MessageValue(messages[i], static_cast<int32_t>(i));
    if (!value.ok()) return Annotate(value.status(), Concat("messages[", i, "]"));
    items.push_back(*std::move(value));
  }
  return jinja::MakeList(std::move(items));
}

// Which messages are trained. InvalidArgument for messages that are none.
absl::StatusOr<std::vector<bool>> TrainedMessages(const Json& messages) {
  if (!messages.is_array()) return absl::InvalidArgumentError("messages must be a list");
  std::vector<bool> trained;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      return absl::InvalidArgumentError(Concat("messages[", i, "] must be an object"));
    }
    const auto train = messages[i].find(kTrainKey);
    if (train != messages[i].end() && !train->is_boolean()) {
      return absl::InvalidArgumentError(Concat("messages[", i, "].train must be true or false"));
    }
    const bool excluded = train != messages[i].end() && !train->get<bool>();
    trained.push_back(IsAssistant(messages[i]) && !excluded);
  }
  return trained;
}

// kwargs first: they win over the special tokens and defaults behind them.
absl::StatusOr<Variables> SharedVariables(const ChatTemplate::Inputs& inputs) {
  Variables variables;
  if (inputs.kwargs != nullptr) {
    if (!inputs.kwargs->is_object()) return absl::InvalidArgumentError("kwargs must be an object");
    for (const auto& [name, item] : inputs.kwargs->items()) {
      absl::StatusOr<Value> value = jinja::FromJson(item, Origin());
      if (!value.ok()) return Annotate(value.status(), Concat("kwargs.", name));
      variables.emplace_back(name, *std::move(value));
    }
  }
  for (const auto& [name, token] : inputs.special_tokens) {
    variables.emplace_back(name, Value::Of(std::string_view(token)));
  }
  // transformers passes these whether they are given or not.
  variables.emplace_back("tools", Value::None());
  variables.emplace_back("documents", Value::None());
  variables.emplace_back("add_generation_prompt", Value::Bool(false));
  return variables;
}

// Renders small conversations to see how a template writes the turns of an assistant.
class Probe {
 public:
  Probe(const jinja::Template& parsed, const ChatTemplate::Inputs& inputs, Variables variables)
      : template_(parsed), inputs_(inputs), variables_(std::move(variables)) {}

  TurnMarks Marks() {
    TurnMarks marks;
    marks.candidates = inputs_.end_of_turn_candidates;
    if (const auto eos = inputs_.special_tokens.find("eos_token");
        eos != inputs_.special_tokens.end()) {
      marks.candidates.push_back(eos->second);
    }
    marks.header = Header(marks.candidates);
    AddEnd(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])", &marks);
    AddEnd(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},)"
           R"({"role":"user","content":"a"}])",
           &marks);
    return marks;
  }

 private:
  // A template may refuse the probe: then it tells nothing.
  std::optional<jinja::Text> Render(const std::string& messages, bool add_generation_prompt) {
    const absl::StatusOr<Value> value = MessagesValue(Json::parse(messages));
    if (!value.ok()) return std::nullopt;
    Variables variables = {{"messages", *value},
                           {"tools", Value::None()},
                           {"add_generation_prompt", Value::Bool(add_generation_prompt)}};
    variables.insert(variables.end(), variables_.begin(), variables_.end());
    jinja::RenderState state(inputs_.limits, inputs_.now);
    absl::StatusOr<jinja::Text> text = template_.Render(variables, state);
    return text.ok() ? std::optional(*std::move(text)) : std::nullopt;
  }

  // What add_generation_prompt adds, from the start of a special token on.
  std::string Header(const std::vector<std::string>& tokens) {
    const std::string messages = R"([{"role":"user","content":"a"}])";
    const auto with = Render(messages, true);
    const auto without = Render(messages, false);
    if (!with || !without) return "";
    const std::string& text = with->bytes();
    const auto differ =
        std::mismatch(text.begin(), text.end(), without->bytes().begin(), without->bytes().end());
    const auto common = static_cast<size_t>(differ.first - text.begin());
    size_t begin = common;
    for (const std::string& token : tokens) {
      // A token that the two texts have only the beginning of in common.
      const size_t reach = std::min(common, token.empty() ? 0 : token.size() - 1);
      for (size_t at = common - reach; at < begin; ++at) {
        if (text.compare(at, token.size(), token) == 0) begin = at;
      }
    }
    return text.substr(begin);
  }

  // Learns what follows the answer "b" of message 1.
  void AddEnd(const std::string& messages, TurnMarks* marks) {
    const auto text = Render(messages, false);
    if (!text) return;
    size_t end = 0;
    size_t offset = 0;
    for (const jinja::Run& run : text->runs()) {
      offset += run.length;
      if (run.origin.message == 1) end = offset;
      if (run.origin.message == 2) break;
    }
    if (end == 0) return;
    const ByteRange close = FindFirst(text->bytes(), end, marks->candidates);
    std::string mark;
    if (close.begin != std::string::npos) {
      mark = text->bytes().substr(close.begin, close.end - close.begin);
    } else if (marks->ends.empty()) {
      // No special token of this tokenizer: what is printed there is the end all the same.
      mark = text->bytes().substr(end);
      mark.erase(mark.find_last_not_of(" \t\r\n") + 1);
    }
    if (!mark.empty()) marks->ends.push_back(mark);
  }

  const jinja::Template& template_;
  const ChatTemplate::Inputs& inputs_;
  const Variables variables_;
};

// The blocks of {% generation %}, and which of them hold trained messages.
absl::Status ReadGenerationSpans(const jinja::Text& text, const std::vector<bool>& is_assistant,
                                 const std::vector<bool>& is_trained, RenderedChat* chat) {
  size_t offset = 0;
  int32_t number = 0;
  std::vector<std::pair<bool, bool>> holds;  // a message that is trained, one that is not
  for (const jinja::Run& run : text.runs()) {
    const size_t begin = offset;
    offset += run.length;
    const int32_t own = run.origin.generation;
    if (own != 0 && own == number && chat->generation_spans.back().end == begin) {
      chat->generation_spans.back().end = offset;
    } else if (own != 0) {
      chat->generation_spans.push_back({begin, offset});
      holds.emplace_back(false, false);
    }
    number = own;
    if (own == 0 || run.origin.message < 0) continue;
    const auto message = static_cast<size_t>(run.origin.message);
    if (!is_assistant[message]) continue;
    (is_trained[message] ? holds.back().first : holds.back().second) = true;
  }
  for (size_t i = 0; i < holds.size(); ++i) {
    if (holds[i].first && holds[i].second) {
      return absl::InvalidArgumentError(
          "a generation block of the chat template holds several messages, and some of them have "
          "\"train\": false");
    }
    const ByteRange span = chat->generation_spans[i];
    if (!holds[i].second && span.begin < span.end) chat->trained.push_back(span);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source, std::string name) {
  LIQUID_ASSIGN_OR_RETURN(jinja::Template parsed, jinja::Template::Parse(source, std::move(name)));
  return ChatTemplate(std::move(parsed));
}

absl::StatusOr<RenderedChat> ChatTemplate::Render(const Inputs& inputs) const {
  if (inputs.messages == nullptr) return absl::InvalidArgumentError("messages are missing");
  LIQUID_ASSIGN_OR_RETURN(const std::vector<bool> is_trained, TrainedMessages(*inputs.messages));
  LIQUID_ASSIGN_OR_RETURN(Value messages, MessagesValue(*inputs.messages));
  LIQUID_ASSIGN_OR_RETURN(Variables shared, SharedVariables(inputs));
  Variables variables = {{"messages", std::move(messages)}};
  variables.insert(variables.end(), shared.begin(), shared.end());
  jinja::RenderState state(inputs.limits, inputs.now);
  LIQUID_ASSIGN_OR_RETURN(const jinja::Text text, template_.Render(variables, state));

  RenderedChat chat;
  chat.text = text.bytes();
  chat.has_generation_markers = has_generation_markers();
  if (chat.has_generation_markers) {
    std::vector<bool> is_assistant;
    for (const Json& message : *inputs.messages) is_assistant.push_back(IsAssistant(message));
    LIQUID_RETURN_IF_ERROR(ReadGenerationSpans(text, is_assistant, is_trained, &chat));
  } else if (std::find(is_trained.begin(), is_trained.end(), true) != is_trained.end()) {
    const TurnMarks marks = Probe(template_, inputs, std::move(shared)).Marks();
    chat.trained = TurnRanges(text, is_trained, marks);
  }
  return chat;
}

}  // namespace liquid
