#include "worker/sample_answers.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "data/example_encoder.h"
#include "data/jsonl_reader.h"
#include "data/stop_tokens.h"
#include "model/continuation.h"
#include "nlohmann/json.hpp"
#include "worker/gang_member.h"
#include "worker/signals.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

// The conversation before its last assistant turn; nothing if there is no such turn.
std::optional<SamplePrompt> PromptOf(const Example& example, const ExampleEncoder& encoder) {
  SamplePrompt prompt;
  if (example.kind == Example::Kind::kPromptCompletion) {
    prompt.text = example.prompt;
    prompt.reference = example.completion;
    prompt.ids = encoder.EncodeText(prompt.text, /*append_eos=*/false);
    return prompt;
  }
  size_t last = example.messages.size();
  while (last > 0 && example.messages[last - 1].value("role", "") != "assistant") --last;
  if (example.kind != Example::Kind::kMessages || last < 2) return std::nullopt;
  const Json& answer = example.messages[last - 1];
  if (answer.contains("content") && answer["content"].is_string()) {
    prompt.reference = answer["content"].get<std::string>();
  }
  Json kwargs = example.kwargs;
  kwargs["add_generation_prompt"] = true;
  const Json before(example.messages.begin(),
                    example.messages.begin() + static_cast<int64_t>(last - 1));
  auto chat = encoder.EncodeChat(before, kwargs);
  if (!chat.ok()) return std::nullopt;  // a template that wants other messages
  prompt.text = std::move(chat->rendered);
  prompt.ids = std::move(chat->ids);
  return prompt;
}

absl::Status AppendLine(const std::string& path, const std::string& line) {
  if (!FileExists(path)) LIQUID_RETURN_IF_ERROR(WriteFile(path, ""));
  LIQUID_ASSIGN_OR_RETURN(File file, File::OpenForUpdate(path));
  LIQUID_ASSIGN_OR_RETURN(const int64_t end, file.Size());
  return file.WriteAt(end, line.data(), line.size());
}

}  // namespace

absl::StatusOr<std::vector<SamplePrompt>> ReadSamplePrompts(const std::vector<std::string>& files,
                                                            const ExampleEncoder& encoder,
                                                            int64_t count, int64_t max_tokens) {
  std::vector<SamplePrompt> prompts;
  JsonlReader reader(files);
  while (static_cast<int64_t>(prompts.size()) < count) {
    LIQUID_ASSIGN_OR_RETURN(const std::optional<JsonlReader::Line> line, reader.Next());
    if (!line.has_value()) break;
    const absl::StatusOr<Example> example = ParseExample(line->text);
    if (line->too_long || !example.ok()) continue;
    std::optional<SamplePrompt> prompt = PromptOf(*example, encoder);
    if (!prompt.has_value() || prompt->ids.empty()) continue;
    if (static_cast<int64_t>(prompt->ids.size()) >= max_tokens) continue;
    prompts.push_back(*std::move(prompt));
  }
  return prompts;
}

SampleAnswers::SampleAnswers(const Job& job, TrainState& state) : job_(job), state_(state) {}
SampleAnswers::~SampleAnswers() = default;

absl::StatusOr<std::unique_ptr<SampleAnswers>> SampleAnswers::Create(const Job& job,
                                                                     Communicator& world,
                                                                     TrainState& state) {
  std::unique_ptr<SampleAnswers> samples(new SampleAnswers(job, state));
  if (job.training().eval_samples() == 0) return nullptr;
  const auto read = [&]() -> absl::StatusOr<std::string> {
    const std::string& directory = job.model().tokenizer();
    LIQUID_ASSIGN_OR_RETURN(samples->encoder_,
                            ExampleEncoder::Load(directory, job.data().chat_template()));
    LIQUID_ASSIGN_OR_RETURN(
        samples->prompts_,
        ReadSamplePrompts({job.data().eval().begin(), job.data().eval().end()}, *samples->encoder_,
                          job.training().eval_samples(), job.data().sequence_length()));
    Json shared = {{"stop_tokens",
                    StopTokens(*samples->encoder_, directory, state.model.config().eos_token_ids)}};
    for (const SamplePrompt& prompt : samples->prompts_) shared["prompts"].push_back(prompt.ids);
    return shared.dump();
  };
  const absl::StatusOr<std::string> text =
      ShareFromLeader(world, world.rank() == 0 ? read() : absl::StatusOr<std::string>(""));
  if (!text.ok()) return WithExitCode(text.status(), ExitCode::kData);
  const Json shared = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  samples->stop_tokens_ = shared["stop_tokens"].get<std::set<int32_t>>();
  if (world.rank() == 0 || !shared.contains("prompts")) return samples;
  for (const Json& ids : shared["prompts"]) {
    samples->prompts_.push_back({.text = "", .ids = ids.get<std::vector<int32_t>>()});
  }
  return samples;
}

absl::Status SampleAnswers::Run(const std::function<void(const std::string& line)>& say) {
  const GangMesh& mesh = state_.mesh;
  if (mesh.replica() != 0) return absl::OkStatus();
  const int64_t context = state_.model.config().max_position_embeddings;
  absl::Status status;
  for (const SamplePrompt& prompt : prompts_) {
    const int64_t room = context - static_cast<int64_t>(prompt.ids.size());
    if (room < 1) continue;
    std::vector<int32_t> tokens;
    bool stops = false;
    const Continuation answer =
        Continue(state_.model, prompt.ids,
                 {.max_tokens = std::min(job_.training().eval_sample_tokens(), room),
                  .stop_tokens = stop_tokens_},
                 [&](int32_t token) {
                   tokens.push_back(token);
                   int64_t asked = StopRequested() ? 1 : 0;  // its ranks do it together
                   mesh.tensor_hosts().AllReduceSum(TensorView(&asked, DType::kI64, {1}));
                   status = mesh.Wait();
                   stops = asked != 0 || !status.ok();
                   return !stops;
                 });
    if (stops) return status;
    if (encoder_ == nullptr) continue;
    StreamDecoder decoder(&encoder_->tokenizer(), /*skip_special_tokens=*/true);
    std::string text;
    for (const int32_t token : tokens) text += decoder.Add(token);
    Tell(prompt, text + decoder.Finish(), answer.ended, say);
  }
  return absl::OkStatus();
}

void SampleAnswers::Tell(const SamplePrompt& prompt, const std::string& answer, bool ended,
                         const std::function<void(const std::string& line)>& say) {
  const Json line = {{"step", state_.applied_step},
                     {"prompt", prompt.text},
                     {"answer", answer},
                     {"ended", ended},
                     {"reference", prompt.reference}};
  say(absl::StrCat("sample at step ", state_.applied_step, ": ",
                   Json(prompt.text).dump(-1, ' ', false, Json::error_handler_t::replace), " -> ",
                   Json(answer).dump(-1, ' ', false, Json::error_handler_t::replace),
                   ended ? "" : " ..."));
  const absl::Status written =
      AppendLine(JoinPath(job_.output(), "samples.jsonl"),
                 line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  if (!written.ok()) LogWarning("a sample was not written: ", written.message());
}

}  // namespace liquid
