// A model directory that answers: text in, text out.
#ifndef LIQUID_CLI_GENERATION_H_
#define LIQUID_CLI_GENERATION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/example_encoder.h"
#include "model/model.h"
#include "model/sampler.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid {

struct GenerationOptions {
  bool raw = false;    // continue the prompt as text, without the chat template
  std::string system;  // what the system says first; "": nothing
  int64_t max_tokens = 256;
  SamplerOptions sampler;
};

struct Generation {
  std::string text;
  int64_t num_prompt_tokens = 0;
  int64_t num_tokens = 0;  // generated, the one that ends the turn included
  bool ended = false;      // by a token that ends the turn; else by the limit
  double seconds = 0;      // without loading
};

// One thread at a time.
class Generator {
 public:
  // Reads the model and its tokenizer from `directory`. If it holds adapters, the model is in
  // `base`, or where they say. Errors end with ExitCode::kCheckpoint, or kData where the tokenizer
  // or the template is at fault.
  static absl::StatusOr<std::unique_ptr<Generator>> Load(const std::string& directory,
                                                         const std::string& base = "");

  bool has_chat_template() const { return encoder_->has_chat_template(); }

  // Gives the text to `on_text` piece by piece, in whole characters. InvalidArgument if the prompt
  // leaves no room in the model's context.
  absl::StatusOr<Generation> Generate(const std::string& prompt, const GenerationOptions& options,
                                      const std::function<void(std::string_view)>& on_text);

 private:
  Generator() = default;
  absl::StatusOr<std::vector<int32_t>> EncodePrompt(const std::string& prompt,
                                                    const GenerationOptions& options) const;

  std::unique_ptr<ExampleEncoder> encoder_;
  // In the order in which each needs those before it.
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<TensorPool> pool_;
  std::unique_ptr<Model> model_;
  std::set<int32_t> stop_tokens_;
};

}  // namespace liquid

#endif  // LIQUID_CLI_GENERATION_H_
