#include "model/key_value_cache.h"

#include "base/check.h"

namespace liquid {

KeyValueCache::KeyValueCache(const ModelConfig& config, int64_t max_tokens, TensorPool& pool)
    : num_kv_heads_(config.num_kv_heads), head_dim_(config.head_dim), max_tokens_(max_tokens) {
  const Shape shape = {max_tokens, num_kv_heads_, head_dim_};
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    layers_.push_back({pool.AllocateF32(shape), pool.AllocateF32(shape)});
  }
}

KeyValueCache::Entry KeyValueCache::Append(Ops& ops, int layer, ConstTensorView keys,
                                           ConstTensorView values) {
  const int64_t width = num_kv_heads_ * head_dim_;
  const int64_t added = keys.NumRows();
  LIQUID_CHECK(length_ + added <= max_tokens_, "a cache of ", max_tokens_, " tokens holds ",
               length_, ", no room for ", added);
  float* stored_keys = layers_[layer].keys.view().f32();
  float* stored_values = layers_[layer].values.view().f32();
  ops.Copy({stored_keys + length_ * width, Shape{added, width}}, keys);
  ops.Copy({stored_values + length_ * width, Shape{added, width}}, values);
  const Shape seen = {1, length_ + added, num_kv_heads_, head_dim_};
  return {{stored_keys, seen}, {stored_values, seen}};
}

}  // namespace liquid
