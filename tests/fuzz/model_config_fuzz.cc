// What is accepted has the sizes that the model is built from.
#include "base/check.h"
#include "model/model_config.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = liquid::ParseModelConfig(liquid::AsText(data, size), "c");
  if (!config.ok()) return 0;
  LIQUID_CHECK(config->vocab_size > 0 && config->hidden_size > 0 && config->num_layers > 0);
  for (int64_t i = 0; i < config->num_layers; ++i) {
    const liquid::LayerConfig layer = config->Layer(i);
    LIQUID_CHECK(layer.head_dim > 0 && layer.intermediate_size > 0 && layer.num_kv_heads > 0 &&
                 config->num_heads % layer.num_kv_heads == 0);
    LIQUID_CHECK(layer.key_source <= i &&
                 config->Layer(layer.key_source).head_dim == layer.head_dim);
  }
  LIQUID_CHECK(config->num_kv_heads > 0 && config->num_heads % config->num_kv_heads == 0);
  LIQUID_CHECK(config->windows.size() == static_cast<size_t>(config->num_layers));
  return 0;
}
