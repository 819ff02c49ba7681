#include "model/key_value_cache.h"

#include <algorithm>

#include "base/check.h"
#include "parallel/flat_layout.h"

namespace liquid {

KeyValueCache::KeyValueCache(const ModelConfig& config, int64_t max_tokens, DType dtype,
                             TensorPool& pool, int tensor_parallel)
    : num_taps_(config.convolution_taps), max_tokens_(max_tokens) {
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const LayerConfig of_layer = config.Layer(i);
    Layer& layer = layers_.emplace_back();
    if (of_layer.is_convolution) {
      layer.inputs = pool.Allocate(
          dtype, {num_taps_ - 1 + max_tokens, 3 * config.hidden_size / tensor_parallel});
    } else if (of_layer.key_source == i) {
      // Where there are fewer heads than ranks, some ranks have the same one.
      const int64_t heads = std::max<int64_t>(1, of_layer.num_kv_heads / tensor_parallel);
      const Shape shape = {max_tokens, heads, of_layer.head_dim};
      layer.keys = pool.Allocate(dtype, shape);
      layer.values = pool.Allocate(dtype, shape);
    }
  }
}

KeyValueCache::Entry KeyValueCache::Append(Ops& ops, int64_t layer, ConstTensorView keys,
                                           ConstTensorView values) {
  const int64_t added = keys.NumRows();
  LIQUID_CHECK(length_ + added <= max_tokens_, "a cache of ", max_tokens_, " tokens holds ",
               length_, ", no room for ", added);
  const int64_t width = keys.shape.back();
  const int64_t begin = length_ * width;
  const int64_t end = begin + added * width;
  ops.Copy(Elements(layers_[layer].keys.view(), begin, end), keys);
  ops.Copy(Elements(layers_[layer].values.view(), begin, end), values);
  return Seen(layer, added);
}

KeyValueCache::Entry KeyValueCache::Seen(int64_t layer, int64_t num_added) const {
  const TensorView keys = layers_[layer].keys.view();
  const int64_t length = length_ + num_added;
  const Shape seen = {1, length, keys.shape[1], keys.shape[2]};
  const int64_t end = length * keys.shape[1] * keys.shape[2];
  return {Elements(keys, 0, end).Reshape(seen),
          Elements(layers_[layer].values.view(), 0, end).Reshape(seen)};
}

ConstTensorView KeyValueCache::AppendInputs(Ops& ops, int64_t layer, ConstTensorView inputs) {
  const int64_t added = inputs.NumRows();
  LIQUID_CHECK(length_ + added <= max_tokens_, "no room for ", added, " tokens");
  const TensorView stored = layers_[layer].inputs.view();
  const int64_t width = stored.shape.back();
  const int64_t end = (num_taps_ - 1 + length_ + added) * width;
  ops.Copy(Elements(stored, end - added * width, end), inputs);
  return Elements(stored, length_ * width, end).Reshape({num_taps_ - 1 + added, width});
}

}  // namespace liquid
