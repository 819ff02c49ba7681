#include "model/model_config.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A config of `type` with `more` keys.
absl::StatusOr<ModelConfig> Parse(const std::string& type, const std::string& more) {
  const std::string comma = more.empty() ? "" : ",";
  return ParseModelConfig(absl::StrCat("{\"model_type\":\"", type, "\"", comma, more, "}"),
                          "m/config.json");
}

TEST(ModelConfigTest, DefaultsAreThoseOfTheFamily) {
  const ModelConfig llama = Parse("llama", "").value();
  EXPECT_EQ(llama.vocab_size, 32000);
  EXPECT_EQ(llama.hidden_size, 4096);
  EXPECT_EQ(llama.intermediate_size, 11008);
  EXPECT_EQ(llama.num_kv_heads, 32);
  EXPECT_EQ(llama.head_dim, 128);
  EXPECT_EQ(llama.max_position_embeddings, 2048);
  EXPECT_FLOAT_EQ(llama.norm_epsilon, 1e-6f);
  EXPECT_FALSE(llama.tie_word_embeddings);
  EXPECT_FALSE(llama.attention_bias);
  EXPECT_EQ(llama.pad_token_id, -1);
  EXPECT_EQ(Parse("qwen2", "").value().vocab_size, 151936);
  EXPECT_TRUE(Parse("qwen2", "").value().attention_bias);
  EXPECT_EQ(Parse("qwen3", R"("hidden_size":1024,"num_attention_heads":16,
                              "num_key_value_heads":8)")
                .value()
                .head_dim,
            128);
  const ModelConfig gpt2 = Parse("gpt2", "").value();
  EXPECT_EQ(gpt2.vocab_size, 50257);
  EXPECT_EQ(gpt2.intermediate_size, 3072);
  EXPECT_EQ(gpt2.max_position_embeddings, 1024);
  EXPECT_FLOAT_EQ(gpt2.norm_epsilon, 1e-5f);
  EXPECT_TRUE(gpt2.tie_word_embeddings);
}

TEST(ModelConfigTest, NullIsAbsent) {
  const ModelConfig config =
      Parse("llama", R"("head_dim":null,"num_key_value_heads":null,"rope_scaling":null,
                        "pad_token_id":null,"eos_token_id":null)")
          .value();
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.num_kv_heads, 32);
  EXPECT_EQ(config.pad_token_id, -1);
  EXPECT_TRUE(config.eos_token_ids.empty());
  EXPECT_EQ(Parse("gpt2", R"("n_inner":null)").value().intermediate_size, 3072);
}

TEST(ModelConfigTest, BothSpellingsOfRopeMeanTheSame) {
  const std::vector<std::string> spellings = {
      R"("rope_theta":500000,"rope_scaling":{"rope_type":"llama3","factor":32.0,
         "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192})",
      R"("rope_theta":500000,"rope_scaling":{"type":"llama3","factor":32.0,
         "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192})",
      R"("rope_parameters":{"rope_theta":500000.0,"rope_type":"llama3","factor":32.0,
         "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192})",
      R"("rope_theta":500000,"rope_parameters":{"rope_type":"llama3","factor":32.0,
         "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192})",
      R"("rope_theta":500000,"rope_parameters":{"rope_type":"linear","factor":2.0},
         "rope_scaling":{"rope_type":"llama3","factor":32.0,
         "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192})",
  };
  for (const std::string& spelling : spellings) {
    const RopeConfig rope = Parse("llama", spelling).value().rope;
    EXPECT_EQ(rope.scaling, RopeConfig::Scaling::kLlama3) << spelling;
    EXPECT_EQ(rope.theta, 500000) << spelling;
    EXPECT_EQ(rope.factor, 32) << spelling;
    EXPECT_EQ(rope.low_freq_factor, 1) << spelling;
    EXPECT_EQ(rope.high_freq_factor, 4) << spelling;
    EXPECT_EQ(rope.original_max_position_embeddings, 8192) << spelling;
  }
}

TEST(ModelConfigTest, RopeFallsBackToTheDefaults) {
  EXPECT_EQ(Parse("llama", "").value().rope.theta, 10000);
  EXPECT_EQ(Parse("llama", R"("rope_parameters":{"rope_type":"default","rope_theta":5})")
                .value()
                .rope.scaling,
            RopeConfig::Scaling::kNone);
  const RopeConfig rope = Parse("llama", R"("max_position_embeddings":777,"rope_scaling":
      {"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4})")
                              .value()
                              .rope;
  EXPECT_EQ(rope.original_max_position_embeddings, 777);
  EXPECT_EQ(Parse("qwen3", R"("rope_scaling":{"type":"linear","factor":4})").value().rope.factor,
            4);
}

TEST(ModelConfigTest, WindowsOnlyWhereAskedFor) {
  const std::string layers = R"("num_hidden_layers":4,"sliding_window":6,)";
  const std::string qwen = "qwen2";
  EXPECT_THAT(
      Parse(qwen, layers + R"("use_sliding_window":false,"max_window_layers":2)").value().windows,
      ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(
      Parse(qwen, layers + R"("use_sliding_window":true,"max_window_layers":2)").value().windows,
      ElementsAre(0, 0, 6, 6));
  EXPECT_THAT(Parse(qwen, layers + R"("use_sliding_window":true,"layer_types":
                  ["sliding_attention","full_attention","full_attention","sliding_attention"])")
                  .value()
                  .windows,
              ElementsAre(6, 0, 0, 6));
  EXPECT_THAT(Parse("llama", layers + R"("use_sliding_window":true)").value().windows,
              ElementsAre(0, 0, 0, 0));
}

TEST(ModelConfigTest, StopTokensAreOneOrSeveral) {
  EXPECT_THAT(Parse("llama", R"("eos_token_id":2)").value().eos_token_ids, ElementsAre(2));
  EXPECT_THAT(Parse("llama", R"("eos_token_id":[5,7])").value().eos_token_ids, ElementsAre(5, 7));
  EXPECT_EQ(Parse("llama", R"("pad_token_id":2)").value().pad_token_id, 2);
}

struct Refusal {
  std::string type, keys, message;
};

TEST(ModelConfigTest, RefusesByNameWhatItCannotDo) {
  const std::vector<Refusal> refusals = {
      {"mamba", "", "model_type \"mamba\" is not supported"},
      {"llama", R"("hidden_act":"gelu")", "hidden_act \"gelu\" is not supported"},
      {"gpt2", R"("activation_function":"gelu")", "activation_function \"gelu\""},
      {"gpt2", R"("scale_attn_weights":false)", "scale_attn_weights"},
      {"gpt2", R"("scale_attn_by_inverse_layer_idx":true)", "scale_attn_by_inverse_layer_idx"},
      {"gpt2", R"("n_embd":770)", "n_embd must be a multiple of n_head"},
      {"llama", R"("rope_scaling":{"type":"yarn","factor":2})", "\"yarn\" is not supported"},
      {"llama", R"("rope_scaling":{"type":"linear"})", "factor is missing"},
      {"llama", R"("rope_scaling":{"type":"llama3","factor":8})", "low_freq_factor is missing"},
      {"llama", R"("rope_scaling":7)", "rope_scaling must be an object"},
      {"llama", R"("rope_parameters":{"partial_rotary_factor":0.5})", "partial_rotary_factor"},
      {"llama", R"("hidden_size":"many")", "hidden_size must be an integer"},
      {"llama", R"("hidden_size":0)", "hidden_size is 0"},
      {"llama", R"("hidden_size":-4)", "hidden_size is -4"},
      {"llama", R"("vocab_size":18446744073709551615)", "vocab_size is 18446744073709551615"},
      {"llama", R"("num_hidden_layers":1000000000)", "num_hidden_layers"},
      {"llama", R"("num_attention_heads":0)", "num_attention_heads"},
      {"llama", R"("num_key_value_heads":5)", "multiple of num_key_value_heads"},
      {"llama", R"("num_attention_heads":3)", "hidden_size must be a multiple"},
      {"llama", R"("head_dim":7)", "head_dim must be even"},
      {"llama", R"("rms_norm_eps":0)", "rms_norm_eps"},
      {"llama", R"("tie_word_embeddings":1)", "tie_word_embeddings must be true or false"},
      {"llama", R"("eos_token_id":"</s>")", "eos_token_id"},
      {"qwen2", R"("use_sliding_window":true,"layer_types":["full_attention"])", "layer_types"},
  };
  for (const Refusal& refusal : refusals) {
    EXPECT_THAT(Parse(refusal.type, refusal.keys),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("m/config.json"), HasSubstr(refusal.message))))
        << refusal.keys;
  }
  EXPECT_THAT(ParseModelConfig("[1]", "c.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("c.json")));
  EXPECT_THAT(ParseModelConfig("{", "c.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("c.json")));
  EXPECT_THAT(ParseModelConfig("{}", "c.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model_type")));
}

TEST(ModelConfigTest, AMissingFileIsNotFoundByName) {
  EXPECT_THAT(LoadModelConfig("/nowhere/config.json"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/config.json")));
}

}  // namespace
}  // namespace liquid
