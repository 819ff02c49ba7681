// The cosines and sines of rotary position embedding, in device memory.
#ifndef LIQUID_MODEL_ROTARY_TABLE_H_
#define LIQUID_MODEL_ROTARY_TABLE_H_

#include <cstdint>
#include <vector>

#include "model/model_config.h"
#include "tensor/device.h"
#include "tensor/pool.h"
#include "tensor/tensor.h"

namespace liquid {

// The angle per position of each of the head_dim/2 pairs: theta^(-2i/head_dim), scaled as `rope`
// says. Source: Su et al. 2021, arXiv:2104.09864; linear: Chen et al. 2023, arXiv:2306.15595;
// llama3: the wavelength bands of Llama 3.1 as Hugging Face computes them; proportional: Gemma 4's,
// of whose pairs only the first turn.
std::vector<double> RotaryFrequencies(const RopeConfig& rope, int64_t head_dim);

// Tables for positions 0 .. P-1, in kF32. Angles are computed in float64: Hugging Face's float32
// angles differ by up to position * 2^-24 radians.
class RotaryTable {
 public:
  RotaryTable(const RopeConfig& rope, int64_t head_dim)
      : frequencies_(RotaryFrequencies(rope, head_dim)) {}

  // Makes P at least `num_positions`; cheap if it is. Invalidates earlier views.
  void Reserve(int64_t num_positions, TensorPool& pool, Stream& stream);

  ConstTensorView cos() const { return cos_.view(); }  // [P,K/2]
  ConstTensorView sin() const { return sin_.view(); }  // [P,K/2]

 private:
  std::vector<double> frequencies_;
  int64_t num_positions_ = 0;
  PooledTensor cos_;
  PooledTensor sin_;
};

}  // namespace liquid

#endif  // LIQUID_MODEL_ROTARY_TABLE_H_
