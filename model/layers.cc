#include "model/layers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "model/spread.h"
#include "parallel/flat_layout.h"

namespace liquid {

Variable TokenEmbedding(Pass& pass, int table) {
  Tape& tape = pass.tape;
  const ConstTensorView weight = tape.Use(table);
  Variable out = tape.NewVariable({pass.num_tokens(), weight.shape.back()});
  tape.ops().Embedding(out.view(), pass.tokens, weight);
  if (!tape.recording()) return SumOverRanks(pass, std::move(out));
  tape.Record([&pass, table, slot = out.slot, shape = out.view().shape] {
    const SharedTensor dout = pass.tape.Take(slot, shape);
    pass.tape.AddToParameter(table, [&](TensorView dtable) {
      pass.tape.ops().EmbeddingBackward(dtable, pass.tokens_with_gradient, dout.view);
    });
  });
  return SumOverRanks(pass, std::move(out));
}

namespace {

// The streams of random numbers of a pass: noise, then one for each adapter.
constexpr uint32_t kNoiseStream = 0;

// x [.,C]: of all tokens, or of this rank's share of them; of all channels from `first_channel` on.
RandomPlace PlaceOf(const Pass& pass, const Variable& x, uint32_t stream, int64_t first_channel) {
  return {.row_keys = pass.row_keys,
          .stream = stream,
          .tokens_per_row = pass.sequence_length,
          .first_token = x.view().NumRows() == pass.num_tokens() ? 0 : pass.first_residual(),
          .first_channel = first_channel};
}

}  // namespace

Variable WithNoise(Pass& pass, Variable x) {
  if (pass.noise == 0 || pass.row_keys == nullptr) return x;
  const double elements =
      static_cast<double>(pass.sequence_length) * static_cast<double>(x.view().shape.back());
  const auto magnitude = static_cast<float>(pass.noise / std::sqrt(elements));
  pass.tape.ops().AddNoise(x.view(), x.view(), magnitude, PlaceOf(pass, x, kNoiseStream, 0));
  return x;  // its gradient is that of the sum
}

Variable PositionEmbedding(Pass& pass, int table) {
  Tape& tape = pass.tape;
  const ConstTensorView weight = tape.Use(table);
  Variable out = tape.NewVariable({pass.num_residual(), weight.shape.back()});
  const int32_t* positions = pass.positions + pass.first_residual();
  tape.ops().Embedding(out.view(), positions, weight);
  if (!tape.recording()) return out;
  tape.Record([&pass, table, positions, slot = out.slot, shape = out.view().shape] {
    const SharedTensor dout = pass.tape.Take(slot, shape);
    pass.tape.AddToParameter(table, [&](TensorView dtable) {
      pass.tape.ops().EmbeddingBackward(dtable, positions, dout.view);
    });
  });
  return out;
}

namespace {

// How a weight is stored.
enum class Major { kOutput, kInput };  // [O,I], [I,O]

// x weight, without a bias.
Variable Product(Pass& pass, const Variable& x, int weight, Major major) {
  Tape& tape = pass.tape;
  const ConstTensorView w = tape.Use(weight);
  const bool by_output = major == Major::kOutput;
  Variable out = tape.NewVariable({x.view().NumRows(), w.shape[by_output ? 0 : 1]});
  tape.ops().MatMul(out.view(), x.view(), w, {.transpose_b = by_output});
  if (!tape.recording()) return out;
  tape.Record([&pass, x, w, weight, by_output, slot = out.slot, shape = out.view().shape] {
    Ops& ops = pass.tape.ops();
    const SharedTensor dout = pass.tape.Take(slot, shape);
    pass.tape.ContributeToParameter(weight, [&](TensorView dw, bool accumulate) {
      const MatMulOptions options = {.transpose_a = true, .accumulate = accumulate};
      if (by_output) ops.MatMul(dw, dout.view, x.view(), options);
      if (!by_output) ops.MatMul(dw, x.view(), dout.view, options);
    });
    pass.tape.Contribute(x.slot, x.view().shape, [&](TensorView dx, bool accumulate) {
      ops.MatMul(dx, dout.view, w, {.transpose_b = !by_output, .accumulate = accumulate});
    });
  });
  return out;
}

// Of the input of the adapter whose A is parameter `a`.
Variable Dropout(Pass& pass, const Variable& x, int a, uint32_t stream) {
  const float probability = pass.adapters->dropout;
  if (probability == 0 || pass.row_keys == nullptr) return x;
  Tape& tape = pass.tape;
  const Parameter& parameter = tape.parameter(a);
  const bool is_split = parameter.partition.kind == Partition::Kind::kColumns;
  LIQUID_CHECK(!is_split || parameter.part.ranges.size() == 1, parameter.name);
  const RandomPlace place = PlaceOf(pass, x, stream, is_split ? parameter.part.ranges[0].begin : 0);
  Variable out = tape.NewVariable(x.view().shape);
  tape.ops().Dropout(out.view(), x.view(), probability, place);
  if (!tape.recording()) return out;
  tape.Record([&pass, probability, place, to = x.slot, slot = out.slot, shape = x.view().shape] {
    const SharedTensor dout = pass.tape.Take(slot, shape);
    SharedTensor dx = dout.HasOneHolder() ? dout : pass.tape.Allocate(shape);
    pass.tape.ops().Dropout(dx.view, dout.view, probability, place);
    pass.tape.Give(to, std::move(dx));
  });
  return out;
}

// x += t b^T, in place: the gradient of x is that of the sum.
Variable AddProduct(Pass& pass, Variable x, const Variable& t, int b) {
  Tape& tape = pass.tape;
  const ConstTensorView w = tape.Use(b);
  tape.ops().MatMul(x.view(), t.view(), w, {.transpose_b = true, .accumulate = true});
  if (!tape.recording()) return x;
  tape.Record([&pass, t, w, b, slot = x.slot, shape = x.view().shape] {
    Ops& ops = pass.tape.ops();
    const SharedTensor dout = pass.tape.Take(slot, shape);
    pass.tape.ContributeToParameter(b, [&](TensorView dw, bool accumulate) {
      ops.MatMul(dw, dout.view, t.view(), {.transpose_a = true, .accumulate = accumulate});
    });
    pass.tape.Contribute(t.slot, t.view().shape, [&](TensorView dt, bool accumulate) {
      ops.MatMul(dt, dout.view, w, {.accumulate = accumulate});
    });
    pass.tape.Give(slot, dout);
  });
  return x;
}

// `out`, the product of x and `weight`, and what the adapter beside it adds to that. Of a weight
// that is spread by its inputs both are this rank's shares of a sum.
Variable WithAdapter(Pass& pass, Variable out, const Variable& x, int weight) {
  if (pass.adapters == nullptr) return out;
  const auto found = pass.adapters->beside.find(weight);
  if (found == pass.adapters->beside.end()) return out;
  const auto& [a, b, stream] = found->second;
  Variable t = Product(pass, Dropout(pass, x, a, stream), a, Major::kOutput);
  t = Scale(pass, std::move(t), pass.adapters->scale);
  return AddProduct(pass, std::move(out), t, b);
}

// In place of x, whose gradient is that of the sum.
Variable WithBias(Pass& pass, Variable x, int bias) {
  if (bias < 0) return x;
  Tape& tape = pass.tape;
  tape.ops().AddBias(x.view(), tape.Use(bias));
  if (!tape.recording()) return x;
  tape.Record([&pass, bias, slot = x.slot, shape = x.view().shape] {
    const SharedTensor dout = pass.tape.Take(slot, shape);
    pass.tape.AddToParameter(
        bias, [&](TensorView dbias) { pass.tape.ops().AddBiasBackward(dbias, dout.view); });
    pass.tape.Give(slot, dout);
  });
  return x;
}

Variable Affine(Pass& pass, const Variable& x, int weight, int bias, Major major) {
  const auto inputs = major == Major::kOutput ? Partition::Kind::kColumns : Partition::Kind::kRows;
  Variable out = WithAdapter(pass, Product(pass, x, weight, major), x, weight);
  if (pass.tape.parameter(weight).partition.kind == inputs)
    out = SumOverRanks(pass, std::move(out));
  return WithBias(pass, std::move(out), bias);
}

}  // namespace

Variable Linear(Pass& pass, const Variable& x, int weight, int bias) {
  return Affine(pass, x, weight, bias, Major::kOutput);
}

Variable LinearInputMajor(Pass& pass, const Variable& x, int weight, int bias) {
  return Affine(pass, x, weight, bias, Major::kInput);
}

Variable RmsNorm(Pass& pass, const Variable& x, int weight, float epsilon, float offset) {
  Tape& tape = pass.tape;
  SharedTensor zeros;  // which an offset of one is added to where there is no weight
  if (weight < 0) {
    zeros = tape.Allocate({x.view().shape.back()});
    tape.ops().Fill(zeros.view, 0.0f);
    offset = 1;
  }
  const ConstTensorView w = weight < 0 ? ConstTensorView(zeros.view) : tape.Use(weight);
  Variable out = tape.NewVariable(x.view().shape);
  const SharedTensor rstd = tape.AllocateF32({x.view().NumRows()});
  tape.ops().RmsNorm(out.view(), rstd.view, x.view(), w, epsilon, offset);
  if (!tape.recording()) return out;
  tape.Record([&pass, x, rstd, zeros, w, weight, offset, slot = out.slot] {
    const SharedTensor dout = pass.tape.Take(slot, x.view().shape);
    SharedTensor dx = pass.tape.Allocate(x.view().shape);
    pass.tape.AddToParameterBeside(weight, w.shape, [&](TensorView dw) {
      pass.tape.ops().RmsNormBackward(dx.view, dw, dout.view, x.view(), w, rstd.view, offset);
    });
    pass.tape.Give(x.slot, std::move(dx));
  });
  return out;
}

Variable RmsNormOfHeads(Pass& pass, Variable x, int64_t head_dim, int weight, float epsilon,
                        float offset) {
  const Shape flat = x.view().shape;
  x = std::move(x).Reshape({flat.NumElements() / head_dim, head_dim});
  return RmsNorm(pass, x, weight, epsilon, offset).Reshape(flat);
}

Variable LayerNorm(Pass& pass, const Variable& x, int weight, int bias, float epsilon) {
  Tape& tape = pass.tape;
  const ConstTensorView w = tape.Use(weight);
  Variable out = tape.NewVariable(x.view().shape);
  const SharedTensor mean = tape.AllocateF32({x.view().NumRows()});
  const SharedTensor rstd = tape.AllocateF32({x.view().NumRows()});
  tape.ops().LayerNorm(out.view(), mean.view, rstd.view, x.view(), w, tape.Use(bias), epsilon);
  if (!tape.recording()) return out;
  tape.Record([&pass, x, mean, rstd, w, weight, bias, slot = out.slot] {
    const SharedTensor dout = pass.tape.Take(slot, x.view().shape);
    SharedTensor dx = pass.tape.Allocate(x.view().shape);
    pass.tape.AddToParameterBeside(weight, w.shape, [&](TensorView dw) {
      pass.tape.AddToParameterBeside(bias, w.shape, [&](TensorView db) {
        pass.tape.ops().LayerNormBackward(dx.view, dw, db, dout.view, x.view(), w, mean.view,
                                          rstd.view);
      });
    });
    pass.tape.Give(x.slot, std::move(dx));
  });
  return out;
}

Variable Add(Pass& pass, Variable x, Variable y) {
  Tape& tape = pass.tape;
  Variable out = tape.Overwrite(y.value.HasOneHolder() ? y : x);
  tape.ops().Add(out.view(), x.view(), y.view());
  if (!tape.recording()) return out;
  tape.Record([&pass, x = x.slot, y = y.slot, slot = out.slot, shape = out.view().shape] {
    SharedTensor dout = pass.tape.Take(slot, shape);
    pass.tape.Give(x, dout);
    pass.tape.Give(y, std::move(dout));
  });
  return out;
}

namespace {

// `scale` (out, x) multiplies; of a gradient likewise.
template <typename ScaleFn>
Variable Scaled(Pass& pass, Variable x, const ScaleFn& scale) {
  Tape& tape = pass.tape;
  Variable out = tape.Overwrite(x);
  scale(out.view(), x.view());
  if (!tape.recording()) return out;
  tape.Record([&pass, scale, in = x.slot, slot = out.slot, shape = out.view().shape] {
    const SharedTensor dout = pass.tape.Take(slot, shape);
    SharedTensor dx = dout.HasOneHolder() ? dout : pass.tape.Allocate(shape);
    scale(dx.view, dout.view);
    pass.tape.Give(in, std::move(dx));
  });
  return out;
}

}  // namespace

Variable Scale(Pass& pass, Variable x, float factor) {
  Ops& ops = pass.tape.ops();
  return Scaled(pass, std::move(x),
                [&ops, factor](TensorView out, ConstTensorView in) { ops.Scale(out, in, factor); });
}

Variable ScaleByConstant(Pass& pass, Variable x, int factor) {
  Ops& ops = pass.tape.ops();
  const ConstTensorView value = pass.tape.parameter(factor).value;
  return Scaled(pass, std::move(x),
                [&ops, value](TensorView out, ConstTensorView in) { ops.ScaleBy(out, in, value); });
}

Variable Activate(Pass& pass, const Variable& x, Activation activation) {
  Tape& tape = pass.tape;
  Variable out = tape.NewVariable(x.view().shape);
  tape.ops().Activate(out.view(), x.view(), activation);
  if (!tape.recording()) return out;
  tape.Record([&pass, x, activation, slot = out.slot] {
    const SharedTensor dout = pass.tape.Take(slot, x.view().shape);
    SharedTensor dx = pass.tape.Allocate(x.view().shape);
    pass.tape.ops().ActivateBackward(dx.view, dout.view, x.view(), activation);
    pass.tape.Give(x.slot, std::move(dx));
  });
  return out;
}

Variable GatedActivate(Pass& pass, const Variable& gate, const Variable& up,
                       Activation activation) {
  Tape& tape = pass.tape;
  Variable out = tape.NewVariable(gate.view().shape);
  tape.ops().GatedActivate(out.view(), gate.view(), up.view(), activation);
  if (!tape.recording()) return out;
  tape.Record([&pass, gate, up, activation, slot = out.slot]() mutable {
    const SharedTensor dout = pass.tape.Take(slot, gate.view().shape);
    // Their gradients take the place of gate and up, which nobody else reads.
    LIQUID_CHECK(gate.value.HasOneHolder() && up.value.HasOneHolder());
    pass.tape.ops().GatedActivateBackward(gate.view(), up.view(), dout.view, gate.view(), up.view(),
                                          activation);
    pass.tape.Give(gate.slot, std::move(gate.value));
    pass.tape.Give(up.slot, std::move(up.value));
  });
  return out;
}

Variable Part(Pass& pass, const Variable& x, int64_t j) {
  Tape& tape = pass.tape;
  const int64_t n = x.view().NumRows();
  const int64_t width = x.view().shape.back() / pass.num_parts;
  // Seen as [num_parts*N,D], part j of row i is row num_parts*i + j: a part is looking up rows.
  const Shape rows = {pass.num_parts * n, width};
  const int32_t* const ids = pass.parts + j * pass.parts_stride;
  Variable out = tape.NewVariable({n, width});
  tape.ops().Embedding(out.view(), ids, ConstTensorView(x.view()).Reshape(rows));
  if (!tape.recording()) return out;
  tape.Record([&pass, ids, rows, to = x.slot, slot = out.slot, shape = out.view().shape] {
    Ops& ops = pass.tape.ops();
    const SharedTensor dout = pass.tape.Take(slot, shape);
    pass.tape.Contribute(to, rows, [&](TensorView dx, bool accumulate) {
      if (!accumulate) ops.Fill(dx, 0.0f);
      ops.EmbeddingBackward(dx, ids, dout.view);
    });
  });
  return out;
}

Variable Rotary(Pass& pass, Variable x, int64_t head_dim, int rotary) {
  Tape& tape = pass.tape;
  const RotaryTable& table = pass.rotaries[static_cast<size_t>(rotary)];
  const Shape heads = {pass.num_tokens(), x.view().NumElements() / pass.num_tokens() / head_dim,
                       head_dim};
  Variable out = tape.Overwrite(x);
  tape.ops().Rotary(out.view().Reshape(heads), x.view().Reshape(heads), table.cos(), table.sin(),
                    pass.positions, /*inverse=*/false);
  if (!tape.recording()) return out;
  tape.Record([&pass, &table, heads, in = x.slot, slot = out.slot] {
    const SharedTensor dout = pass.tape.Take(slot, heads);
    SharedTensor dx = dout.HasOneHolder() ? dout : pass.tape.Allocate(heads);
    pass.tape.ops().Rotary(dx.view, dout.view, table.cos(), table.sin(), pass.positions,
                           /*inverse=*/true);
    pass.tape.Give(in, std::move(dx));
  });
  return out;
}

Variable Attention(Pass& pass, const Variable& q, const Variable& k, const Variable& v,
                   const AttentionShape& a) {
  Tape& tape = pass.tape;
  const int64_t rows = pass.num_rows;
  const int64_t length = pass.sequence_length;
  const int64_t num_heads = q.view().shape.back() / a.head_dim;
  const Shape query_shape = {rows, length, num_heads, a.head_dim};
  AttentionOptions options;
  options.scale = static_cast<float>(
      a.query_scale > 0 ? a.query_scale : 1.0 / std::sqrt(static_cast<double>(a.head_dim)));
  options.window = a.window;
  Variable out = tape.NewVariable(q.view().shape);
  const SharedTensor lse = tape.AllocateF32({rows, num_heads, length});
  const ConstTensorView query = q.view().Reshape(query_shape);
  const TensorView target = out.view().Reshape(query_shape);
  if (pass.cache != nullptr) {
    LIQUID_CHECK(!tape.recording() && rows == 1);
    options.query_offset = static_cast<int32_t>(pass.cache->length());
    const KeyValueCache::Entry seen =
        a.has_own_keys ? pass.cache->Append(tape.ops(), a.layer, k.view(), v.view())
                       : pass.cache->Seen(a.layer, length);
    tape.ops().Attention(target, lse.view, query, seen.keys, seen.values, nullptr, options);
    return out;
  }
  const Shape key_shape = {rows, length, k.view().shape.back() / a.head_dim, a.head_dim};
  tape.ops().Attention(target, lse.view, query, k.view().Reshape(key_shape),
                       v.view().Reshape(key_shape), pass.document_start, options);
  if (!tape.recording()) return out;
  tape.Record([&pass, q, k, v, out, lse, query_shape, key_shape, options] {
    const SharedTensor dout = pass.tape.Take(out.slot, query_shape);
    SharedTensor dq = pass.tape.Allocate(query_shape);
    SharedTensor dk = pass.tape.Allocate(key_shape);
    SharedTensor dv = pass.tape.Allocate(key_shape);
    pass.tape.ops().AttentionBackward(dq.view, dk.view, dv.view, dout.view,
                                      q.view().Reshape(query_shape), k.view().Reshape(key_shape),
                                      v.view().Reshape(key_shape), out.view().Reshape(query_shape),
                                      lse.view, pass.document_start, options);
    pass.tape.Give(q.slot, std::move(dq));
    pass.tape.Give(k.slot, std::move(dk));
    pass.tape.Give(v.slot, std::move(dv));
  });
  return out;
}

Variable ShortConvolution(Pass& pass, const Variable& x, int weight, int64_t layer) {
  Tape& tape = pass.tape;
  const int64_t width = x.view().shape.back() / 3;
  const ConstTensorView w = tape.Use(weight);
  const ConstTensorView taps = w.Reshape({width, w.shape.back()});
  if (pass.cache != nullptr) {
    const ConstTensorView inputs = pass.cache->AppendInputs(tape.ops(), layer, x.view());
    const int64_t before = inputs.NumRows() - pass.num_tokens();
    const SharedTensor all = tape.Allocate({inputs.NumRows(), width});
    tape.ops().ShortConvolution(all.view, inputs, taps, pass.cached_positions);
    Variable out = tape.NewVariable({pass.num_tokens(), width});
    tape.ops().Copy(out.view(), Elements(all.view, before * width, inputs.NumRows() * width));
    return out;
  }
  Variable out = tape.NewVariable({x.view().NumRows(), width});
  tape.ops().ShortConvolution(out.view(), x.view(), taps, pass.positions);
  if (!tape.recording()) return out;
  tape.Record([&pass, x, taps, weight, slot = out.slot, shape = out.view().shape] {
    const SharedTensor dout = pass.tape.Take(slot, shape);
    SharedTensor dx = pass.tape.Allocate(x.view().shape);
    pass.tape.AddToParameterBeside(weight, taps.shape, [&](TensorView dw) {
      pass.tape.ops().ShortConvolutionBackward(dx.view, dw.Reshape(taps.shape), dout.view, x.view(),
                                               taps, pass.positions);
    });
    pass.tape.Give(x.slot, std::move(dx));
  });
  return out;
}

void LinearCrossEntropy(Pass& pass, const Variable& x, int weight, float cap, TensorView nll,
                        int32_t* correct) {
  Tape& tape = pass.tape;
  const ConstTensorView w = tape.Use(weight);
  const VocabularyPart part = {
      .num_parts = pass.tensor.size(),
      .largest_part =
          (tape.parameter(weight).shape[0] + pass.tensor.size() - 1) / pass.tensor.size(),
      .all_gather = [&pass](TensorView all, ConstTensorView mine) {
        pass.tensor.group->AllGatherParts(all, mine);
      }};
  const VocabularyPart* spread = pass.tensor.size() > 1 ? &part : nullptr;
  const Variable all = Gather(pass, x);
  LIQUID_CHECK(correct == nullptr || !tape.recording());
  if (!tape.recording()) {
    tape.ops().LinearCrossEntropy(nll, correct, all.view(), w, pass.targets, cap, spread);
    return;
  }
  SharedTensor dx = tape.Allocate(all.view().shape);
  const auto differentiate = [&](TensorView dw) {
    tape.ops().LinearCrossEntropyWithGradient(nll, dx.view, dw, all.view(), w, pass.targets,
                                              pass.target_weights, cap, pass.loss_scale, spread);
  };
  if (tape.parameter(weight).trains) {
    tape.AddToParameter(weight, differentiate);
  } else {
    differentiate({});
  }
  tape.Give(all.slot, std::move(dx));
}

}  // namespace liquid
