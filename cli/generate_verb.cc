#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "checkpoint/adapter_config.h"
#include "cli/generation.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace liquid {
namespace {

struct GenerateFlags {
  std::string directory;
  std::string base;
  std::vector<std::string> prompts;
  GenerationOptions options;
  bool json = false;
};

std::string ToJson(const std::string& prompt, const Generation& generation) {
  const double speed =
      generation.seconds > 0 ? static_cast<double>(generation.num_tokens) / generation.seconds : 0;
  return ToJsonLine({{"prompt", prompt},
                     {"text", generation.text},
                     {"prompt_tokens", generation.num_prompt_tokens},
                     {"tokens", generation.num_tokens},
                     {"finish", generation.ended ? "end_of_turn" : "max_tokens"},
                     {"seconds", generation.seconds},
                     {"tokens_per_second", speed}});
}

absl::StatusOr<ExitCode> Generate(const GenerateFlags& flags) {
  if (std::isnan(flags.options.sampler.temperature) || std::isnan(flags.options.sampler.top_p)) {
    return absl::InvalidArgumentError("--temperature and --top-p must be numbers");
  }
  if (!flags.base.empty() && !HasAdapterConfig(flags.directory)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--base: ", flags.directory, " holds no adapters"));
  }
  LIQUID_ASSIGN_OR_RETURN(const std::unique_ptr<Generator> generator,
                          Generator::Load(flags.directory, flags.base));
  const bool as_text = flags.options.raw || !generator->has_chat_template();
  if (as_text && !flags.options.system.empty()) {
    return absl::InvalidArgumentError("--system needs a chat template");
  }
  for (const std::string& prompt : flags.prompts) {
    if (flags.json) {
      LIQUID_ASSIGN_OR_RETURN(const Generation generation,
                              generator->Generate(prompt, flags.options, [](auto) {}));
      PrintLine(ToJson(prompt, generation));
      continue;
    }
    if (flags.prompts.size() > 1) PrintLine(absl::StrCat("> ", prompt));
    if (as_text) std::fputs(prompt.c_str(), stdout);
    const auto generation = generator->Generate(prompt, flags.options, [](std::string_view text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    });
    if (as_text || generation.ok()) PrintLine("");
    LIQUID_RETURN_IF_ERROR(generation.status());
  }
  return ExitCode::kOk;
}

}  // namespace

Verb AddGenerateVerb(CLI::App& liquid) {
  auto flags = std::make_shared<GenerateFlags>();
  GenerationOptions& options = flags->options;
  CLI::App* app = liquid.add_subcommand("generate", "Asks a model.");
  app->add_option("MODEL_DIR", flags->directory, "Hugging Face model directory or a checkpoint")
      ->required();
  app->add_option("--base", flags->base,
                  "of a checkpoint of adapters: directory of the base model; else the one that it "
                  "names");
  app->add_option("--prompt", flags->prompts, "what to ask; may be repeated, each one starts anew")
      ->required()
      ->allow_extra_args(false);
  app->add_flag("--raw", options.raw, "continue the prompt as text, without the chat template");
  app->add_option("--system", options.system, "what the system says first");
  app->add_option("--max-tokens", options.max_tokens, "stop after so many tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  app->add_option("--temperature", options.sampler.temperature, "0: always the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app->add_option("--top-k", options.sampler.top_k, "only the k likeliest; 0: all")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  app->add_option("--top-p", options.sampler.top_p,
                  "only the likeliest that reach this probability together")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app->add_option("--seed", options.sampler.seed, "of what is drawn with a temperature")
      ->capture_default_str();
  app->add_flag("--json", flags->json, "answer in JSON, a line for each prompt");
  return {app, [flags] { return Generate(*flags); }};
}

}  // namespace liquid
