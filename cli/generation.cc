#include "cli/generation.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/hf_directory.h"
#include "cli/base_model.h"
#include "data/stop_tokens.h"
#include "kernels/cpu/team.h"
#include "kernels/ops.h"
#include "model/continuation.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

// With fewer parameters, threads wait for each other longer than they compute; on a busy machine a
// hundred times longer.
constexpr int64_t kMinParametersForTeam = 16 << 20;

void SizeTeamFor(const Model& model) {
  int64_t num_parameters = 0;
  for (const Parameter& parameter : model.parameters()) {
    num_parameters += parameter.shape.NumElements();
  }
  const bool alone = num_parameters < kMinParametersForTeam;
  SizeTeam(/*ranks_on_machine=*/alone ? std::numeric_limits<int>::max() : 1);
}

absl::Status AsModelError(const absl::Status& status) {
  if (status.ok() || absl::IsResourceExhausted(status)) return status;
  return WithExitCode(status, ExitCode::kCheckpoint);
}

// Where the weights are, and what adapters go beside them.
struct ModelDirectories {
  std::string base;
  Tuning tuning;
};

// `directory` holds a model, or adapters, whose model is in `base` or where they say.
absl::StatusOr<ModelDirectories> FindModel(const std::string& directory, const std::string& base) {
  if (!HasAdapterConfig(directory)) return ModelDirectories{directory, {}};
  LIQUID_ASSIGN_OR_RETURN(AdapterConfig adapter, ReadAdapterConfig(directory));
  LIQUID_ASSIGN_OR_RETURN(std::string found, FindBaseModel(directory, adapter.base_model, base));
  LIQUID_ASSIGN_OR_RETURN(const WeightSource weights, WeightSource::Open(directory, kAdapterStem));
  LIQUID_ASSIGN_OR_RETURN(adapter.target_modules, ModulesOfAdapters(weights.names(), directory));
  return ModelDirectories{std::move(found), {.adapter = std::move(adapter)}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Generator>> Generator::Load(const std::string& directory,
                                                           const std::string& base) {
  auto result = std::unique_ptr<Generator>(new Generator());
  Generator& generator = *result;
  const auto source = FindModel(directory, base);
  LIQUID_RETURN_IF_ERROR(AsModelError(source.status()));
  const auto config = LoadModelConfig(JoinPath(source->base, "config.json"));
  LIQUID_RETURN_IF_ERROR(AsModelError(config.status()));
  const bool has_tokenizer = FileExists(JoinPath(directory, "tokenizer.json"));
  auto encoder = ExampleEncoder::Load(has_tokenizer ? directory : source->base, "",
                                      absl::ToCivilSecond(absl::Now(), absl::LocalTimeZone()));
  if (!encoder.ok()) return WithExitCode(encoder.status(), ExitCode::kData);
  generator.encoder_ = *std::move(encoder);

  generator.device_ = CreateCpuDevice();
  LIQUID_ASSIGN_OR_RETURN(generator.stream_, generator.device_->CreateStream());
  generator.ops_ = CreateOps(*generator.stream_);
  generator.pool_ = std::make_unique<TensorPool>(*generator.device_);
  auto model = CreateModel(*config, *generator.ops_, *generator.stream_, *generator.pool_,
                           /*tensor_parallel=*/{}, DType::kF32, source->tuning);
  if (!model.ok() && source->tuning.adapter.has_value()) {
    return AsModelError(Annotate(model.status(), absl::StrCat(directory, ", which holds adapters, ",
                                                              "does not fit ", source->base)));
  }
  LIQUID_RETURN_IF_ERROR(AsModelError(model.status()));
  generator.model_ = *std::move(model);
  SizeTeamFor(*generator.model_);
  LIQUID_RETURN_IF_ERROR(AsModelError(LoadWeights(source->base, *generator.model_, nullptr)));
  if (source->tuning.adapter.has_value()) {
    LIQUID_RETURN_IF_ERROR(AsModelError(LoadAdapters(directory, *generator.model_)));
  }
  generator.stop_tokens_ =
      StopTokens(*generator.encoder_, directory, generator.model_->config().eos_token_ids);
  return result;
}

absl::StatusOr<std::vector<int32_t>> Generator::EncodePrompt(
    const std::string& prompt, const GenerationOptions& options) const {
  if (options.raw || !has_chat_template()) {
    return encoder_->EncodeText(prompt, /*append_eos=*/false);
  }
  Json messages = Json::array();
  if (!options.system.empty()) {
    messages.push_back({{"role", "system"}, {"content", options.system}});
  }
  messages.push_back({{"role", "user"}, {"content", prompt}});
  Json kwargs = Json::object();
  kwargs["add_generation_prompt"] = true;
  auto chat = encoder_->EncodeChat(messages, kwargs);
  if (!chat.ok()) return WithExitCode(chat.status(), ExitCode::kData);
  return std::move(chat->ids);
}

absl::StatusOr<Generation> Generator::Generate(
    const std::string& prompt, const GenerationOptions& options,
    const std::function<void(std::string_view)>& on_text) {
  LIQUID_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, EncodePrompt(prompt, options));
  if (ids.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  const int32_t vocab_size = static_cast<int32_t>(model_->config().vocab_size);
  if (*std::max_element(ids.begin(), ids.end()) >= vocab_size) {
    return WithExitCode(
        absl::InvalidArgumentError(absl::StrCat("the tokenizer has ids beyond the model's ",
                                                vocab_size, " rows of the vocabulary")),
        ExitCode::kCheckpoint);
  }
  const auto num_prompt = static_cast<int64_t>(ids.size());
  const int64_t room = model_->config().max_position_embeddings - num_prompt;
  if (room < 1) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ", num_prompt,
                                                   " tokens, the model's context only ",
                                                   model_->config().max_position_embeddings));
  }
  const absl::Time begin = absl::Now();
  StreamDecoder decoder(&encoder_->tokenizer(), /*skip_special_tokens=*/true);
  // Raw text goes on where the prompt ends: its first word keeps its space.
  if (options.raw || !has_chat_template()) {
    for (const int32_t id : ids) decoder.Add(id);
  }
  Generation result;
  result.num_prompt_tokens = num_prompt;
  const auto say = [&](const std::string& text) {
    if (text.empty()) return;
    result.text += text;
    on_text(text);
  };
  if (options.max_tokens > 0) {
    const Continuation answer = Continue(*model_, ids,
                                         {.max_tokens = std::min(options.max_tokens, room),
                                          .stop_tokens = stop_tokens_,
                                          .sampler = options.sampler},
                                         [&](int32_t token) {
                                           say(decoder.Add(token));
                                           return true;
                                         });
    result.num_tokens = answer.num_tokens;
    result.ended = answer.ended;
  }
  say(decoder.Finish());
  result.seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  return result;
}

}  // namespace liquid
