// The config.json of gemma-4-E4B, whole or cut.
#ifndef LIQUID_TESTS_MODEL_GEMMA4_E4B_H_
#define LIQUID_TESTS_MODEL_GEMMA4_E4B_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

namespace liquid::testing {

// With all its sizes; of `num_layers` layers every `full_every`-th sees all tokens, and the last
// `num_sharing` have keys and values of layers before them.
inline std::string Gemma4E4B(int num_layers = 42, int full_every = 6, int num_sharing = 18,
                             int64_t vocab_size = 262144) {
  std::string types;
  for (int i = 1; i <= num_layers; ++i) {
    absl::StrAppend(&types, i == 1 ? "" : ",",
                    i % full_every == 0 ? "\"full_attention\"" : "\"sliding_attention\"");
  }
  return absl::StrCat(R"({"model_type":"gemma4","text_config":{
      "hidden_size":2560,"intermediate_size":10240,"num_attention_heads":8,
      "num_key_value_heads":2,"head_dim":256,"global_head_dim":512,"sliding_window":512,
      "hidden_size_per_layer_input":256,"final_logit_softcapping":30.0,
      "max_position_embeddings":131072,"num_hidden_layers":)",
                      num_layers, R"(,"num_kv_shared_layers":)", num_sharing, R"(,"vocab_size":)",
                      vocab_size, R"(,"vocab_size_per_layer_input":)", vocab_size,
                      R"(,"layer_types":[)", types, "]}}");
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_MODEL_GEMMA4_E4B_H_
