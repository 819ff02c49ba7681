#include "data/example_encoder.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "data/masking.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

// What the tokens in front of a text are that the tokenizer's post-processor puts there: BOS.
std::vector<int32_t> PrefixOf(const Tokenizer& tokenizer) {
  std::vector<int32_t> plain;
  std::vector<int32_t> with_specials;
  tokenizer.Encode("a", &plain);
  tokenizer.Encode("a", {.add_special_tokens = true}, &with_specials);
  const auto text =
      std::search(with_specials.begin(), with_specials.end(), plain.begin(), plain.end());
  if (text == with_specials.end()) return {};  // it changes the text itself
  return {with_specials.begin(), text};
}

// "eos_token_id" of a model's config.json, for tokenizers without a tokenizer_config.json that
// names the token; the first one where it is a list.
std::optional<int32_t> EosOfModelConfig(const std::string& directory, int32_t vocab_size) {
  const auto text = ReadFile(JoinPath(directory, "config.json"));
  if (!text.ok()) return std::nullopt;
  const Json config = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains("eos_token_id")) return std::nullopt;
  const Json& value = config["eos_token_id"];
  const Json& id = value.is_array() && !value.empty() ? value[0] : value;
  if (!id.is_number_integer() || id < 0 || id >= vocab_size) return std::nullopt;
  return id.get<int32_t>();
}

// The template to use and its name for errors; an empty name if there is none.
struct TemplateSource {
  std::string text;
  std::string name;
};
absl::StatusOr<TemplateSource> FindTemplate(const std::string& directory,
                                            const std::string& chat_template,
                                            const TokenizerConfig& config) {
  if (!chat_template.empty()) {
    LIQUID_ASSIGN_OR_RETURN(std::string text, ReadFile(chat_template));
    return TemplateSource{std::move(text), chat_template};
  }
  std::optional<std::string> text = config.ChatTemplate();
  if (!text.has_value()) return TemplateSource{};
  const std::string own_file = JoinPath(directory, "chat_template.jinja");
  return TemplateSource{*std::move(text), FileExists(own_file)
                                              ? own_file
                                              : JoinPath(directory, "tokenizer_config.json")};
}

bool HasAssistant(const Json& messages, size_t begin) {
  return std::any_of(messages.begin() + static_cast<ptrdiff_t>(begin), messages.end(),
                     [](const Json& message) {
                       return message.contains("role") && message["role"] == "assistant";
                     });
}

}  // namespace

std::vector<std::string> ExampleEncoder::InputFiles(const std::string& directory,
                                                    const std::string& chat_template) {
  std::vector<std::string> paths;
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"}) {
    const std::string path = JoinPath(directory, name);
    if (FileExists(path)) paths.push_back(path);
  }
  if (!chat_template.empty()) paths.push_back(chat_template);
  return paths;
}

absl::StatusOr<std::unique_ptr<ExampleEncoder>> ExampleEncoder::Load(
    const std::string& directory, const std::string& chat_template, absl::CivilSecond now,
    const LossChoice& loss) {
  auto encoder = std::unique_ptr<ExampleEncoder>(new ExampleEncoder());
  encoder->loss_ = loss;
  LIQUID_ASSIGN_OR_RETURN(encoder->tokenizer_, Tokenizer::Load(directory));
  LIQUID_ASSIGN_OR_RETURN(encoder->config_, TokenizerConfig::Load(directory));
  const Tokenizer& tokenizer = *encoder->tokenizer_;
  const auto special = [&](const char* name) -> std::optional<int32_t> {
    const std::optional<std::string> token = encoder->config_.SpecialToken(name);
    return token.has_value() ? tokenizer.TokenToId(*token) : std::nullopt;
  };
  encoder->eos_ = special("eos_token");
  if (!encoder->eos_.has_value()) {
    encoder->eos_ = EosOfModelConfig(directory, tokenizer.vocab_size());
  }
  encoder->pad_ = special("pad_token").value_or(encoder->eos_.value_or(0));
  encoder->prefix_ = PrefixOf(tokenizer);
  encoder->bos_ = special("bos_token");
  if (!encoder->bos_.has_value() && encoder->prefix_.size() == 1) {
    encoder->bos_ = encoder->prefix_.front();
  }
  encoder->now_ = now;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.is_special(id)) encoder->special_texts_.push_back(tokenizer.IdToToken(id));
  }
  LIQUID_ASSIGN_OR_RETURN(TemplateSource source,
                          FindTemplate(directory, chat_template, encoder->config_));
  encoder->template_name_ = source.name;
  if (source.name.empty()) return encoder;
  LIQUID_ASSIGN_OR_RETURN(ChatTemplate parsed, ChatTemplate::Parse(source.text, source.name));
  encoder->template_ = std::make_unique<ChatTemplate>(std::move(parsed));
  return encoder;
}

absl::StatusOr<RenderedChat> ExampleEncoder::Render(const Json& messages, const Json& kwargs,
                                                    size_t num_prompt_messages) const {
  if (template_ == nullptr) {
    return absl::FailedPreconditionError(
        "messages need a chat template, and the tokenizer's directory has none; name one in "
        "data.chat_template");
  }
  ChatTemplate::Inputs inputs;
  inputs.messages = &messages;
  inputs.kwargs = &kwargs;
  inputs.special_tokens = config_.special_tokens;
  inputs.end_of_turn_candidates = special_texts_;
  inputs.now = now_;
  inputs.loss_on = loss_.loss_on;
  inputs.num_prompt_messages = num_prompt_messages;
  inputs.find_stops = !loss_.stop_token;
  return template_->Render(inputs);
}

absl::StatusOr<EncodedChat> ExampleEncoder::EncodeChat(const Json& messages, const Json& kwargs,
                                                       size_t num_prompt_messages) const {
  LIQUID_ASSIGN_OR_RETURN(RenderedChat chat, Render(messages, kwargs, num_prompt_messages));
  std::vector<ByteRange> ranges;
  EncodedChat encoded;
  tokenizer_->EncodeWithOffsets(chat.text, Tokenizer::EncodeOptions(), &encoded.ids, &ranges);
  const std::vector<int32_t> trained = RangesOfTokens(ranges, chat.trained);
  const std::vector<int32_t> stops = RangesOfTokens(ranges, chat.stops);
  const bool has_weights = std::any_of(chat.weights.begin(), chat.weights.end(),
                                       [](float weight) { return weight != 1; });
  if (has_weights) encoded.weights.resize(ranges.size(), 0);
  encoded.mask.resize(ranges.size(), 0);
  for (size_t t = 0; t < ranges.size(); ++t) {
    // A token that only begins before the mark still belongs to the answer.
    const bool stops_turn =
        stops[t] >= 0 && ranges[t].begin >= chat.stops[static_cast<size_t>(stops[t])].begin;
    const bool begins = t == 0 && encoded.ids[t] == bos_;
    if (trained[t] < 0 || stops_turn || begins) continue;
    encoded.mask[t] = 1;
    if (has_weights) encoded.weights[t] = chat.weights[static_cast<size_t>(trained[t])];
  }
  encoded.rendered = std::move(chat.text);
  encoded.num_left_out = chat.num_left_out;
  return encoded;
}

std::vector<int32_t> ExampleEncoder::EncodeText(const std::string& text, bool append_eos) const {
  std::vector<int32_t> ids;
  tokenizer_->Encode(text, &ids);
  const bool has_prefix =
      ids.size() >= prefix_.size() && std::equal(prefix_.begin(), prefix_.end(), ids.begin());
  if (!has_prefix) ids.insert(ids.begin(), prefix_.begin(), prefix_.end());
  if (append_eos && eos_.has_value() && (ids.empty() || ids.back() != *eos_)) ids.push_back(*eos_);
  return ids;
}

absl::StatusOr<Document> ExampleEncoder::EncodeMessages(const Example& example,
                                                        LossWeights* weights) const {
  LIQUID_ASSIGN_OR_RETURN(
      EncodedChat chat, EncodeChat(example.messages, example.kwargs, example.num_prompt_messages));
  Document document;
  document.tokens = std::move(chat.ids);
  document.trained = std::move(chat.mask);
  document.num_left_out = chat.num_left_out;
  for (size_t t = 0; t < chat.weights.size(); ++t) {
    LIQUID_ASSIGN_OR_RETURN(document.trained[t], weights->ByteOf(chat.weights[t]));
  }
  return document;
}

absl::StatusOr<Document> ExampleEncoder::EncodeCompletion(const Example& example) const {
  if (!eos_.has_value()) {
    return absl::FailedPreconditionError(
        "completions would never end: the tokenizer's directory names no eos_token");
  }
  Document document;
  document.tokens = EncodeText(example.prompt, /*append_eos=*/false);
  const uint8_t trains_prompt = loss_.loss_on == LossOn::kAll ? 1 : 0;
  document.trained.assign(document.tokens.size(), trains_prompt);
  std::fill_n(document.trained.begin(), prefix_.size(), uint8_t{0});
  tokenizer_->Encode(example.completion, &document.tokens);
  if (document.tokens.back() != *eos_) document.tokens.push_back(*eos_);
  document.trained.resize(document.tokens.size(), 1);
  if (!loss_.stop_token) document.trained.back() = 0;
  return document;
}

Document ExampleEncoder::EncodeWholeText(const Example& example) const {
  Document document;
  document.tokens = EncodeText(example.text, /*append_eos=*/true);
  document.trained.assign(document.tokens.size(), 1);
  std::fill_n(document.trained.begin(), prefix_.size(), uint8_t{0});
  if (!loss_.stop_token && document.tokens.back() == eos_) document.trained.back() = 0;
  return document;
}

bool ExampleEncoder::BeginsTwice(absl::Span<const int32_t> ids) const {
  return bos_.has_value() && ids.size() > 1 && ids[0] == *bos_ && ids[1] == *bos_;
}

absl::Status ExampleEncoder::CheckDocument(const Example& example, const Document& document) const {
  const bool is_chat = example.kind == Example::Kind::kMessages;
  if (BeginsTwice(document.tokens)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "it begins with '", tokenizer_->IdToToken(*bos_), "' twice: ",
        is_chat ? "the chat template writes one, and the first message has another; take it out of "
                  "the message"
                : "take one out of the text"));
  }
  if (NumTargets(document) > 0) return absl::OkStatus();
  if (!is_chat) {
    return absl::InvalidArgumentError("a single token: nothing in it can be trained");
  }
  return absl::InvalidArgumentError(
      HasAssistant(example.messages, example.num_prompt_messages)
          ? "nothing in it is trained: the mask of its assistant messages is empty"
          : "nothing in it is trained: it has no assistant message");
}

absl::StatusOr<Document> ExampleEncoder::Encode(const Example& example,
                                                LossWeights* weights) const {
  Document document;
  switch (example.kind) {
    case Example::Kind::kMessages: {
      LIQUID_ASSIGN_OR_RETURN(document, EncodeMessages(example, weights));
      break;
    }
    case Example::Kind::kPromptCompletion: {
      LIQUID_ASSIGN_OR_RETURN(document, EncodeCompletion(example));
      break;
    }
    case Example::Kind::kText:
      document = EncodeWholeText(example);
      break;
  }
  LIQUID_RETURN_IF_ERROR(CheckDocument(example, document));
  return document;
}

absl::StatusOr<ChatFacts> ExampleEncoder::CheckTemplate() const {
  constexpr std::string_view kAnswer = "Yes indeed";
  const Json messages = {{{"role", "user"}, {"content", "Hello there"}},
                         {{"role", "assistant"}, {"content", kAnswer}}};
  ChatFacts facts;
  facts.chat_template = template_name_;
  facts.has_generation_markers = template_ != nullptr && template_->has_generation_markers();
  facts.tokenizer_adds_bos = bos_.has_value() && !prefix_.empty() && prefix_.front() == *bos_;
  const absl::StatusOr<RenderedChat> chat = Render(messages, Json::object(), 0);
  if (absl::IsFailedPrecondition(chat.status())) return chat.status();
  if (!chat.ok()) return facts;  // it wants other messages: its rows will tell
  const size_t answer = chat->text.rfind(kAnswer);
  if (answer == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(template_name_, ": the chat template leaves out what the assistant says"));
  }
  std::vector<int32_t> ids;
  std::vector<ByteRange> ranges;
  tokenizer_->EncodeWithOffsets(chat->text, Tokenizer::EncodeOptions(), &ids, &ranges);
  if (BeginsTwice(ids)) {
    return absl::InvalidArgumentError(
        absl::StrCat(template_name_, ": the chat template begins with '",
                     tokenizer_->IdToToken(*bos_), "' twice; take one out of it"));
  }
  if (bos_.has_value() && ids.front() == *bos_) facts.bos_token = tokenizer_->IdToToken(*bos_);
  const std::vector<uint8_t> mask = MaskTokens(ranges, chat->trained);
  for (size_t t = 0; t < ids.size(); ++t) {
    const bool ends_turn = tokenizer_->is_special(ids[t]) || ids[t] == eos_;
    if (ranges[t].begin < answer + kAnswer.size() || !ends_turn) continue;
    const bool is_first = facts.stop_token_id < 0;
    if (is_first || mask[t] != 0) {
      facts.stop_token = tokenizer_->IdToToken(ids[t]);
      facts.stop_token_id = ids[t];
      facts.stops_with_eos = ids[t] == eos_;
    }
    if (mask[t] != 0 || !loss_.stop_token) return facts;
  }
  if (!loss_.stop_token) return facts;
  return absl::InvalidArgumentError(absl::StrCat(
      template_name_, ": the model would never learn to stop: ",
      facts.stop_token_id < 0
          ? "the chat template puts no special token behind an assistant's message"
          : absl::StrCat("the token '", facts.stop_token,
                         "' behind an assistant's message is not trained"),
      "; give another template in data.chat_template, or set data.train_on_stop_token: false"));
}

bool ExampleEncoder::TrainsAnEnd(const Document& document) const {
  const auto ends = [this](int32_t id) { return tokenizer_->is_special(id) || id == eos_; };
  for (size_t t = 1; t < document.tokens.size(); ++t) {
    const bool is_last = t + 1 == document.tokens.size() || document.trained[t + 1] == 0;
    if (document.trained[t] == 0 || !is_last) continue;
    if (ends(document.tokens[t])) return true;
    // A template may mark the line end behind it as well.
    if (document.trained[t - 1] != 0 && ends(document.tokens[t - 1])) return true;
  }
  return false;
}

}  // namespace liquid
