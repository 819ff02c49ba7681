// The keys and values of the tokens a generation has already seen.
#ifndef LIQUID_MODEL_KEY_VALUE_CACHE_H_
#define LIQUID_MODEL_KEY_VALUE_CACHE_H_

#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "model/model_config.h"
#include "tensor/pool.h"
#include "tensor/tensor.h"

namespace liquid {

// One sequence of up to `max_tokens`, kept as `dtype`; of a model that is spread over
// `tensor_parallel` ranks, what one of them has of it (G and D below are then this rank's). Belongs
// to the model that made it (Model::CreateCache), and may not outlive that model's pool.
class KeyValueCache {
 public:
  KeyValueCache(const ModelConfig& config, int64_t max_tokens, DType dtype, TensorPool& pool,
                int tensor_parallel = 1);

  int64_t length() const { return length_; }  // tokens held, by every layer
  int64_t max_tokens() const { return max_tokens_; }

  struct Entry {
    ConstTensorView keys;    // [1,S,G,K], S: with the tokens just appended
    ConstTensorView values;  // [1,S,G,K]
  };
  // Stores the keys and values [T,G*K] of the next T tokens for `layer`; what it holds with them.
  // REQUIRES: length() + T <= max_tokens().
  Entry Append(Ops& ops, int64_t layer, ConstTensorView keys, ConstTensorView values);
  // What `layer` holds, with `num_added` tokens that were appended to it.
  Entry Seen(int64_t layer, int64_t num_added) const;
  // For a short convolution: the inputs [T,3D] of the next T tokens behind those of the last
  // num_taps - 1 (anything, where there are none): [num_taps-1+T,3D].
  ConstTensorView AppendInputs(Ops& ops, int64_t layer, ConstTensorView inputs);
  // All layers have stored the next `num_tokens` tokens. What was appended behind them is
  // forgotten.
  void Advance(int64_t num_tokens) { length_ += num_tokens; }

 private:
  struct Layer {
    PooledTensor keys;  // [S,G,K] with S = max_tokens; none if the layer has none of its own
    PooledTensor values;
    PooledTensor inputs;  // [num_taps-1+S,3D]: of a convolution
  };
  int64_t num_taps_;
  int64_t max_tokens_;
  int64_t length_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace liquid

#endif  // LIQUID_MODEL_KEY_VALUE_CACHE_H_
