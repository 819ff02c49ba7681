#include "model/model_config.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/model.h"
#include "tests/model/gemma4_e4b.h"
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
  EXPECT_EQ(Parse("gpt2", R"("pad_token_id":50256)").value().pad_token_id, -1);
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

TEST(ModelConfigTest, LayersOfGemma3SlideByPatternOrByName) {
  const ModelConfig old = Parse("gemma3_text", R"("num_hidden_layers":7,"sliding_window":9,
      "query_pre_attn_scalar":64,"rope_scaling":{"rope_type":"linear","factor":8})")
                              .value();
  EXPECT_THAT(old.windows, ElementsAre(9, 9, 9, 9, 9, 0, 9));
  EXPECT_EQ(old.vocab_size, 262208);
  EXPECT_EQ(old.norm_offset, 1);
  EXPECT_DOUBLE_EQ(old.query_scale, 1.0 / 8);
  EXPECT_EQ(old.rope.factor, 8);
  EXPECT_EQ(old.sliding_rope.theta, 1e4);
  EXPECT_EQ(old.sliding_rope.scaling, RopeConfig::Scaling::kNone);
  EXPECT_EQ(old.pad_token_id, 0);
  EXPECT_EQ(Parse("gemma3_text", R"("pad_token_id":null)").value().pad_token_id, -1);
  const ModelConfig named = Parse("gemma3", R"("text_config":{"num_hidden_layers":2,
      "layer_types":["full_attention","sliding_attention"],"eos_token_id":1,"rope_parameters":
      {"full_attention":{"rope_theta":5e5},"sliding_attention":{"rope_theta":7e3}}},
      "eos_token_id":[1,106])")
                                .value();
  EXPECT_THAT(named.windows, ElementsAre(0, 4096));
  EXPECT_TRUE(named.is_nested);
  EXPECT_EQ(named.rope.theta, 5e5);
  EXPECT_EQ(named.sliding_rope.theta, 7e3);
  EXPECT_THAT(named.eos_token_ids, ElementsAre(1, 106));
}

TEST(ModelConfigTest, Gemma4E4BHasItsPublishedNumberOfParameters) {
  const ModelConfig config = ParseModelConfig(testing::Gemma4E4B(), "config.json").value();
  EXPECT_EQ(config.Layer(41).key_source, 23);
  EXPECT_EQ(config.Layer(40).key_source, 22);
  EXPECT_EQ(config.Layer(23).key_source, 23);
  EXPECT_EQ(config.Layer(5).head_dim, 512);
  EXPECT_EQ(config.logit_cap, 30);
  int64_t num_elements = 0;
  int num_trained = 0;
  for (const Parameter& parameter : ParametersOf(config)) {
    if (!parameter.trains) continue;
    num_elements += parameter.shape.NumElements();
    ++num_trained;
  }
  EXPECT_EQ(num_elements, 7463013376);
  EXPECT_EQ(num_trained, 623);
}

TEST(ModelConfigTest, BothSpellingsOfGemma4sHeadsMeanTheSame) {
  const std::string common = R"("num_hidden_layers":6,"num_attention_heads":4,"head_dim":8,
                                "hidden_size_per_layer_input":0,)";
  const ModelConfig old = Parse("gemma4_text", common + R"("global_head_dim":16)").value();
  const ModelConfig late =
      Parse("gemma4_text", common + R"("per_layer_config":{"5":{"head_dim":16}})").value();
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(old.Layer(i).head_dim, i == 5 ? 16 : 8);
    EXPECT_EQ(late.Layer(i).head_dim, old.Layer(i).head_dim);
    EXPECT_EQ(late.Layer(i).num_kv_heads, 4);
  }
  const ModelConfig shared = Parse("gemma4_text", common + R"("attention_k_eq_v":true,
      "num_global_key_value_heads":1,"num_kv_shared_layers":0)")
                                 .value();
  EXPECT_EQ(shared.Layer(5).num_kv_heads, 1);
  EXPECT_EQ(shared.Layer(0).num_kv_heads, 4);
}

TEST(ModelConfigTest, TheMlpOfLfm2IsRoundedUpUnlessTheFileSaysOtherwise) {
  EXPECT_EQ(Parse("lfm2", R"("block_ff_dim":6656)").value().intermediate_size, 4608);
  EXPECT_EQ(Parse("lfm2", R"("intermediate_size":12288)").value().intermediate_size, 8192);
  EXPECT_EQ(Parse("lfm2", R"("block_ff_dim":10752,"block_auto_adjust_ff_dim":false)")
                .value()
                .intermediate_size,
            10752);
  const ModelConfig listed = Parse("lfm2", R"("num_hidden_layers":3,"full_attn_idxs":[1])").value();
  EXPECT_TRUE(listed.Layer(0).is_convolution);
  EXPECT_FALSE(listed.Layer(1).is_convolution);
  EXPECT_EQ(listed.rope.theta, 1e6);
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
      {"gemma3_text", R"("hidden_activation":"gelu")", "hidden_activation \"gelu\""},
      {"gemma3_text", R"("num_hidden_layers":1,"layer_types":["conv"])", "entry \"conv\""},
      {"gemma4_text", R"("enable_moe_block":true)", "enable_moe_block"},
      {"gemma4_text", R"("num_kv_shared_layers":29)", "without keys of its kind"},
      {"gemma4_text", R"("vocab_size_per_layer_input":7)", "vocab_size_per_layer_input"},
      {"gemma4_text", R"("per_layer_config":{"05":{"head_dim":7}})", "layer 5"},
      {"gemma4_text", R"("per_layer_config":{"05":{"head_dim":8}})", "heads of layer 11"},
      {"gemma4_text", R"("per_layer_config":{"x":{}})", "per_layer_config has \"x\""},
      {"gemma4_text", R"("rope_parameters":{"rope_theta":1e4})", "rope_parameters must hold"},
      {"gemma3_text", R"("use_bidirectional_attention":true)", "use_bidirectional_attention"},
      {"lfm2", R"("intermediate_size":1)", "makes an MLP of 0 features"},
      {"lfm2", R"("conv_bias":true)", "conv_bias"},
      {"lfm2", R"("conv_L_cache":99)", "conv_L_cache"},
      {"lfm2", R"("full_attn_idxs":[40])", "full_attn_idxs has no layer 40"},
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
