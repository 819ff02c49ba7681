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

// Everything that a message says has the message as its origin. Its role is part of the header.
absl::StatusOr<Value> MessageValue(const Json& message, int32_t index) {
  std::vector<std::pair<Value, Value>> entries;
  const Origin origin{.message = index};
  for (const auto& [key, item] : message.items()) {
    if (IsLossKey(key)) continue;
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

// Reads which blocks of {% generation %} hold trained messages.
class GenerationBlocks {
 public:
  GenerationBlocks(const Json& messages, const std::vector<MessageLoss>& losses)
      : messages_(messages), losses_(losses), is_held_(losses.size(), false) {}

  absl::Status Read(const jinja::Text& text, RenderedChat* chat) {
    LIQUID_RETURN_IF_ERROR(FindBlocks(text));
    for (size_t i = 0; i < losses_.size(); ++i) {
      if (losses_[i].weight == 0 || is_held_[i]) continue;
      ++chat->num_left_out;
      if (!losses_[i].is_asked) continue;
      return absl::InvalidArgumentError(
          Concat("messages[", i, "] asks to be trained, but no generation block of the chat ",
                 "template holds it"));
    }
    for (size_t i = 0; i < blocks_.size(); ++i) {
      chat->generation_spans.push_back(blocks_[i].span);
      const float weight = WeightOf(i);
      if (weight == 0 || blocks_[i].span.begin == blocks_[i].span.end) continue;
      chat->trained.push_back(blocks_[i].span);
      chat->weights.push_back(weight);
    }
    return absl::OkStatus();
  }

 private:
  struct Block {
    ByteRange span;
    std::optional<float> weight;  // of the messages in it
  };

  absl::Status FindBlocks(const jinja::Text& text) {
    size_t offset = 0;
    int32_t number = 0;
    for (const jinja::Run& run : text.runs()) {
      const size_t begin = offset;
      offset += run.length;
      const int32_t own = run.origin.generation;
      if (own != 0 && own == number && blocks_.back().span.end == begin) {
        blocks_.back().span.end = offset;
      } else if (own != 0) {
        blocks_.push_back({{begin, offset}, std::nullopt});
      }
      number = own;
      if (own == 0 || run.origin.message < 0) continue;
      LIQUID_RETURN_IF_ERROR(Hold(static_cast<size_t>(run.origin.message)));
    }
    return absl::OkStatus();
  }

  // The last block has words of that message.
  absl::Status Hold(size_t message) {
    if (!IsAssistant(messages_[message]) && !losses_[message].is_asked) return absl::OkStatus();
    is_held_[message] = true;
    Block& block = blocks_.back();
    const float weight = losses_[message].weight;
    if (!block.weight.has_value()) block.weight = weight;
    if (*block.weight == weight) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "a generation block of the chat template holds several messages, and they are not all "
        "trained alike (\"train\", \"weight\", data.loss_on)");
  }

  // A block without words of a message belongs to the one that it touches, else to the next.
  float WeightOf(size_t i) const {
    if (blocks_[i].weight.has_value()) return *blocks_[i].weight;
    const bool touches = i > 0 && blocks_[i - 1].span.end == blocks_[i].span.begin;
    if (touches && blocks_[i - 1].weight.has_value()) return *blocks_[i - 1].weight;
    for (size_t next = i + 1; next < blocks_.size(); ++next) {
      if (blocks_[next].weight.has_value()) return *blocks_[next].weight;
    }
    return i > 0 ? WeightOf(i - 1) : 1.0F;
  }

  const Json& messages_;
  const std::vector<MessageLoss>& losses_;
  std::vector<bool> is_held_;
  std::vector<Block> blocks_;
};

// All of the text, but for the turns of messages that have a loss of their own.
void TrainAll(const std::vector<Turn>& turns, const std::vector<MessageLoss>& losses,
              RenderedChat* chat) {
  const auto add = [chat](size_t begin, size_t end, float weight) {
    if (begin == end || weight == 0) return;
    chat->trained.push_back({begin, end});
    chat->weights.push_back(weight);
  };
  size_t next = 0;
  for (const Turn& turn : turns) {
    const float weight = losses[static_cast<size_t>(turn.message)].weight;
    if (weight == 1) continue;
    add(next, turn.range.begin, 1);
    add(turn.range.begin, turn.range.end, weight);
    next = turn.range.end;
  }
  add(next, chat->text.size(), 1);
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source, std::string name) {
  LIQUID_ASSIGN_OR_RETURN(jinja::Template parsed, jinja::Template::Parse(source, std::move(name)));
  return ChatTemplate(std::move(parsed));
}

absl::StatusOr<RenderedChat> ChatTemplate::Render(const Inputs& inputs) const {
  if (inputs.messages == nullptr) return absl::InvalidArgumentError("messages are missing");
  LIQUID_ASSIGN_OR_RETURN(
      const std::vector<MessageLoss> losses,
      MessageLosses(*inputs.messages, inputs.loss_on, inputs.num_prompt_messages));
  LIQUID_ASSIGN_OR_RETURN(Value messages, MessagesValue(*inputs.messages));
  LIQUID_ASSIGN_OR_RETURN(Variables shared, SharedVariables(inputs));
  Variables variables = {{"messages", std::move(messages)}};
  variables.insert(variables.end(), shared.begin(), shared.end());
  jinja::RenderState state(inputs.limits, inputs.now);
  LIQUID_ASSIGN_OR_RETURN(const jinja::Text text, template_.Render(variables, state));

  RenderedChat chat;
  chat.text = text.bytes();
  chat.has_generation_markers = has_generation_markers();
  const bool all = inputs.loss_on == LossOn::kAll;
  const bool by_blocks = has_generation_markers() && !all;
  std::vector<bool> is_wanted;
  for (size_t i = 0; i < losses.size(); ++i) {
    const bool may_stop = inputs.find_stops && IsAssistant((*inputs.messages)[i]);
    const bool is_trained = losses[i].weight > 0;
    is_wanted.push_back(may_stop || (all ? losses[i].weight != 1 : is_trained && !by_blocks));
  }
  std::vector<Turn> turns;
  if (std::find(is_wanted.begin(), is_wanted.end(), true) != is_wanted.end()) {
    const TurnMarks marks = Probe(template_, inputs, std::move(shared)).Marks();
    turns = TurnRanges(text, is_wanted, marks);
  }
  if (by_blocks) {
    LIQUID_RETURN_IF_ERROR(GenerationBlocks(*inputs.messages, losses).Read(text, &chat));
  } else if (all) {
    TrainAll(turns, losses, &chat);
  }
  std::vector<bool> is_found(losses.size(), all || by_blocks);
  for (const Turn& turn : turns) {
    const auto message = static_cast<size_t>(turn.message);
    is_found[message] = true;
    if (inputs.find_stops && IsAssistant((*inputs.messages)[message])) {
      chat.stops.push_back(turn.close);
    }
    if (all || by_blocks || losses[message].weight == 0) continue;
    chat.trained.push_back(turn.range);
    chat.weights.push_back(losses[message].weight);
  }
  for (size_t i = 0; i < losses.size(); ++i) {
    if (losses[i].weight > 0 && !is_found[i]) ++chat.num_left_out;
  }
  return chat;
}

}  // namespace liquid
