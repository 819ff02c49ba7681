#include "model/key_value_cache.h"

#include "base/check.h"
#include "parallel/flat_layout.h"

namespace liquid {

KeyValueCache::KeyValueCache(const ModelConfig& config, int64_t max_tokens, DType dtype,
                             TensorPool& pool)
    : num_kv_heads_(config.num_kv_heads), head_dim_(config.head_dim), max_tokens_(max_tokens) {
  const Shape shape = {max_tokens, num_kv_heads_, head_dim_};
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    layers_.push_back({pool.Allocate(dtype, shape), pool.Allocate(dtype, shape)});
  }
}

KeyValueCache::Entry KeyValueCache::Append(Ops& ops, int layer, ConstTensorView keys,
                                           ConstTensorView values) {
  const int64_t width = num_kv_heads_ * head_dim_;
  const int64_t added = keys.NumRows();
  LIQUID_CHECK(length_ + added <= max_tokens_, "a cache of ", max_tokens_, " tokens holds ",
               length_, ", no room for ", added);
  const TensorView stored_keys = layers_[layer].keys.view();
  const TensorView stored_values = layers_[layer].values.view();
  const int64_t begin = length_ * width;
  const int64_t end = begin + added * width;
  ops.Copy(Elements(stored_keys, begin, end), keys);
  ops.Copy(Elements(stored_values, begin, end), values);
  const Shape seen = {1, length_ + added, num_kv_heads_, head_dim_};
  return {Elements(stored_keys, 0, end).Reshape(seen),
          Elements(stored_values, 0, end).Reshape(seen)};
}

}  // namespace liquid
