#include "kernels/plan/op_timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include "base/check.h"
#include "tensor/pool.h"

namespace liquid {
namespace {

// Tensors of made-up values. Integers are all 0: a first token, target and position.
class Operands {
 public:
  Operands(Ops& ops, TensorPool& pool) : ops_(ops), pool_(pool) {}

  TensorView Of(DType dtype, const Shape& shape) {
    tensors_.push_back(pool_.Allocate(dtype, shape));
    const TensorView view = tensors_.back().view();
    if (dtype == DType::kF32 || dtype == DType::kBF16) {
      ops_.Fill(view, 0.01f);
    } else {
      ops_.Fill(TensorView(view.data, DType::kF32, {view.NumBytes() / 4}), 0.0f);
    }
    return view;
  }
  TensorView Floats(const Shape& shape) { return Of(DType::kF32, shape); }
  int32_t* Integers(int64_t count) { return static_cast<int32_t*>(Of(DType::kI32, {count}).data); }

 private:
  Ops& ops_;
  TensorPool& pool_;
  std::vector<PooledTensor> tensors_;
};

using Run = std::function<void()>;

Run PrepareProduct(const OpCall& call, Ops& ops, Operands& in) {
  const auto [m, n, k, unused3, unused4, unused5, unused6] = call.extents;
  const TensorView out = in.Of(call.out_dtype, {m, n});
  const TensorView a = in.Of(call.dtype, call.is_first ? Shape{k, m} : Shape{m, k});
  const TensorView b = in.Of(call.dtype, call.is_second ? Shape{n, k} : Shape{k, n});
  const MatMulOptions options = {
      .transpose_a = call.is_first, .transpose_b = call.is_second, .accumulate = call.accumulates};
  return [=, &ops] { ops.MatMul(out, a, b, options); };
}

Run PrepareAttention(const OpCall& call, Ops& ops, Operands& in) {
  const auto [batch, queries, keys, heads, groups, width, window] = call.extents;
  const Shape of_queries = {batch, queries, heads, width};
  const Shape of_keys = {batch, keys, groups, width};
  const DType type = call.dtype;
  AttentionOptions options;
  options.scale = 1.0f / std::sqrt(static_cast<float>(width));
  options.window = static_cast<int32_t>(window);
  const TensorView q = in.Of(type, of_queries);
  const TensorView k = in.Of(type, of_keys);
  const TensorView v = in.Of(type, of_keys);
  const TensorView out = in.Of(type, of_queries);
  const TensorView lse = in.Floats({batch, heads, queries});
  const int32_t* const start = in.Integers(batch * keys);
  if (call.kind == OpKind::kAttention) {
    return [=, &ops] { ops.Attention(out, lse, q, k, v, start, options); };
  }
  const TensorView dout = in.Of(type, of_queries);
  const TensorView dq = in.Of(type, of_queries);
  const TensorView dk = in.Of(type, of_keys);
  const TensorView dv = in.Of(type, of_keys);
  return [=, &ops] { ops.AttentionBackward(dq, dk, dv, dout, q, k, v, out, lse, start, options); };
}

Run PrepareLoss(const OpCall& call, Ops& ops, Operands& in) {
  const auto [tokens, width, vocabulary, unused3, unused4, unused5, unused6] = call.extents;
  const float cap = call.is_first ? 30.0f : 0.0f;
  const TensorView nll = in.Floats({tokens});
  const TensorView x = in.Of(call.dtype, {tokens, width});
  const TensorView weight = in.Of(call.dtype, {vocabulary, width});
  const int32_t* const targets = in.Integers(tokens);
  if (call.kind == OpKind::kCrossEntropy) {
    int32_t* const correct = call.is_second ? in.Integers(tokens) : nullptr;
    return [=, &ops] { ops.LinearCrossEntropy(nll, correct, x, weight, targets, cap, nullptr); };
  }
  const TensorView dx = in.Of(call.dtype, {tokens, width});
  const TensorView dweight = call.accumulates ? in.Floats({vocabulary, width}) : TensorView();
  const float* const scale = in.Floats({1}).f32();
  return [=, &ops] {
    ops.LinearCrossEntropyWithGradient(nll, dx, dweight, x, weight, targets,
                                       /*token_weights=*/nullptr, cap, scale, nullptr);
  };
}

Run PrepareLookUp(const OpCall& call, Ops& ops, Operands& in) {
  const auto [tokens, width, vocabulary, unused3, unused4, unused5, unused6] = call.extents;
  const int32_t* const ids = in.Integers(tokens);
  if (call.kind == OpKind::kEmbedding) {
    const TensorView out = in.Of(call.out_dtype, {tokens, width});
    const TensorView table = in.Of(call.dtype, {vocabulary, width});
    return [=, &ops] { ops.Embedding(out, ids, table); };
  }
  const TensorView dtable = in.Of(call.out_dtype, {vocabulary, width});
  const TensorView dout = in.Of(call.dtype, {tokens, width});
  return [=, &ops] { ops.EmbeddingBackward(dtable, ids, dout); };
}

// Norms and biases.
Run PrepareRows(const OpCall& call, Ops& ops, Operands& in) {
  const Shape shape = {call.extents[0], call.extents[1]};
  const Shape width = {call.extents[1]};
  const TensorView x = in.Of(call.dtype, shape);
  const TensorView weight = in.Of(call.dtype, width);
  if (call.kind == OpKind::kAddBias) return [=, &ops] { ops.AddBias(x, weight); };
  const TensorView dweight = in.Floats(width);
  if (call.kind == OpKind::kAddBiasBackward) {
    return [=, &ops] { ops.AddBiasBackward(dweight, x); };
  }
  const TensorView out = in.Of(call.dtype, shape);
  const TensorView mean = in.Floats({shape[0]});
  const TensorView rstd = in.Floats({shape[0]});
  if (call.kind == OpKind::kRmsNorm) {
    return [=, &ops] { ops.RmsNorm(out, rstd, x, weight, 1e-5f, 0); };
  }
  if (call.kind == OpKind::kLayerNorm) {
    return [=, &ops] { ops.LayerNorm(out, mean, rstd, x, weight, weight, 1e-5f); };
  }
  const TensorView dout = in.Of(call.dtype, shape);
  if (call.kind == OpKind::kRmsNormBackward) {
    return [=, &ops] { ops.RmsNormBackward(out, dweight, dout, x, weight, rstd, 0); };
  }
  const TensorView dbias = in.Floats(width);
  return [=, &ops] { ops.LayerNormBackward(out, dweight, dbias, dout, x, weight, mean, rstd); };
}

Run PrepareRotary(const OpCall& call, Ops& ops, Operands& in) {
  const auto [tokens, heads, width, unused3, unused4, unused5, unused6] = call.extents;
  const TensorView x = in.Of(call.dtype, {tokens, heads, width});
  const TensorView table = in.Floats({1, width / 2});
  const int32_t* const positions = in.Integers(tokens);
  return [=, &ops] { ops.Rotary(x, x, table, table, positions, false); };
}

Run PrepareConvolution(const OpCall& call, Ops& ops, Operands& in) {
  const auto [tokens, width, taps, unused3, unused4, unused5, unused6] = call.extents;
  const TensorView x = in.Of(call.dtype, {tokens, 3 * width});
  const TensorView out = in.Of(call.dtype, {tokens, width});
  const TensorView weight = in.Of(call.dtype, {width, taps});
  const int32_t* const positions = in.Integers(tokens);
  if (call.kind == OpKind::kShortConvolution) {
    return [=, &ops] { ops.ShortConvolution(out, x, weight, positions); };
  }
  const TensorView dx = in.Of(call.dtype, {tokens, 3 * width});
  const TensorView dweight = in.Floats({width, taps});
  return [=, &ops] { ops.ShortConvolutionBackward(dx, dweight, out, x, weight, positions); };
}

Run PrepareActivation(const OpCall& call, Ops& ops, Operands& in) {
  const Shape shape = {call.extents[0]};
  const auto activation = call.is_first ? Activation::kGeluTanh : Activation::kSilu;
  const TensorView x = in.Of(call.dtype, shape);
  const TensorView out = in.Of(call.dtype, shape);
  if (call.kind == OpKind::kActivate) return [=, &ops] { ops.Activate(out, x, activation); };
  const TensorView y = in.Of(call.dtype, shape);
  if (call.kind == OpKind::kActivateBackward) {
    return [=, &ops] { ops.ActivateBackward(out, y, x, activation); };
  }
  if (call.kind == OpKind::kGatedActivate) {
    return [=, &ops] { ops.GatedActivate(out, x, y, activation); };
  }
  return [=, &ops] { ops.GatedActivateBackward(x, y, out, x, y, activation); };
}

// Sums and updates: dtype is the sum's.
Run PrepareSum(const OpCall& call, Ops& ops, Operands& in) {
  const Shape shape = {call.extents[0]};
  const TensorView sum = in.Of(call.dtype, shape);
  if (call.kind == OpKind::kSumOfSquares) {
    const TensorView chunks = in.Of(DType::kF64, {(shape[0] + kNormChunk - 1) / kNormChunk});
    return [=, &ops] { ops.SumOfSquares(chunks, sum); };
  }
  const TensorView x = in.Floats(shape);
  if (call.kind == OpKind::kAccumulate) {
    int32_t* const flag = in.Integers(1);
    return [=, &ops] { ops.Accumulate(sum, x, int64_t{1} << 60, flag); };
  }
  const TensorView m = in.Floats(shape);
  const TensorView v = in.Floats(shape);
  AdamWOptions options;
  options.learning_rate = 1e-4f;
  return [=, &ops] { ops.AdamW(x, m, v, sum, options); };
}

Run PrepareElements(const OpCall& call, Ops& ops, Operands& in) {
  const Shape shape = {call.extents[0]};
  // What is filled may be of any type; floats of as many bytes stand for it.
  if (call.kind == OpKind::kFill) {
    const TensorView out = in.Floats({std::max<int64_t>(1, shape[0] * SizeOf(call.dtype) / 4)});
    return [=, &ops] { ops.Fill(out, 0.0f); };
  }
  const TensorView x = in.Of(call.dtype, shape);
  const TensorView out = in.Of(call.out_dtype, shape);
  if (call.kind == OpKind::kCopy) return [=, &ops] { ops.Copy(out, x); };
  if (call.kind == OpKind::kScale) return [=, &ops] { ops.Scale(out, x, 1.5f); };
  const TensorView y = in.Of(call.dtype, shape);
  return [=, &ops] { ops.Add(out, x, y); };
}

Run PrepareRandom(const OpCall& call, Ops& ops, Operands& in) {
  const Shape shape = {call.extents[0], call.extents[1]};
  const TensorView x = in.Of(call.dtype, shape);
  const TensorView out = in.Of(call.dtype, shape);
  const RandomPlace place = {.row_keys = in.Integers(2), .tokens_per_row = shape[0]};
  if (call.kind == OpKind::kDropout) return [=, &ops] { ops.Dropout(out, x, 0.1f, place); };
  return [=, &ops] { ops.AddNoise(out, x, 0.1f, place); };
}

Run Prepare(const OpCall& call, Ops& ops, Operands& in) {
  switch (call.kind) {
    case OpKind::kMatMul:
      return PrepareProduct(call, ops, in);
    case OpKind::kAttention:
    case OpKind::kAttentionBackward:
      return PrepareAttention(call, ops, in);
    case OpKind::kCrossEntropy:
    case OpKind::kCrossEntropyWithGradient:
      return PrepareLoss(call, ops, in);
    case OpKind::kEmbedding:
    case OpKind::kEmbeddingBackward:
      return PrepareLookUp(call, ops, in);
    case OpKind::kRotary:
      return PrepareRotary(call, ops, in);
    case OpKind::kShortConvolution:
    case OpKind::kShortConvolutionBackward:
      return PrepareConvolution(call, ops, in);
    case OpKind::kDropout:
    case OpKind::kAddNoise:
      return PrepareRandom(call, ops, in);
    case OpKind::kActivate:
    case OpKind::kActivateBackward:
    case OpKind::kGatedActivate:
    case OpKind::kGatedActivateBackward:
      return PrepareActivation(call, ops, in);
    case OpKind::kAccumulate:
    case OpKind::kSumOfSquares:
    case OpKind::kAdamW:
      return PrepareSum(call, ops, in);
    case OpKind::kFill:
    case OpKind::kCopy:
    case OpKind::kAdd:
    case OpKind::kScale:
      return PrepareElements(call, ops, in);
    default:
      return PrepareRows(call, ops, in);
  }
}

// Halves one extent, the one that a measurement can best do without; false: none is left.
bool Halve(OpCall& call) {
  auto& e = call.extents;
  const auto halve = [&](size_t i, int64_t least) {
    if (e[i] / 2 < least) return false;
    e[i] /= 2;
    return true;
  };
  constexpr int64_t kLeast = 256;
  switch (call.kind) {
    case OpKind::kMatMul: {
      const auto largest = std::max_element(e.begin(), e.begin() + 3) - e.begin();
      return halve(static_cast<size_t>(largest), kLeast);
    }
    case OpKind::kAttention:
    case OpKind::kAttentionBackward:
      if (halve(0, 1)) return true;
      if (e[4] % 2 == 0) {
        e[3] /= 2;
        e[4] /= 2;
        return true;
      }
      return halve(1, kLeast) && halve(2, 1);
    case OpKind::kCrossEntropy:
    case OpKind::kCrossEntropyWithGradient:
      return e[2] > 8 * e[0] ? halve(2, 4 * kLeast) || halve(0, kLeast)
                             : halve(0, kLeast) || halve(2, 4 * kLeast);
    case OpKind::kEmbedding:
    case OpKind::kEmbeddingBackward:
      return e[2] > e[0] ? halve(2, 1) : halve(0, kLeast);
    default:
      return halve(0, 1);
  }
}

// Memory that the operands of an embedding's table are of, of which it touches little.
double BytesHeld(const OpCall& call) {
  const double bytes = CostOf(call).bytes;
  if (call.kind != OpKind::kEmbedding && call.kind != OpKind::kEmbeddingBackward) return bytes;
  return bytes + static_cast<double>(call.extents[1] * call.extents[2]) * SizeOf(call.out_dtype);
}

}  // namespace

double OpTimer::WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

OpCall OpTimer::CutDown(OpCall call) const {
  OpCost cost = CostOf(call);
  while ((cost.flops > limits_.flops || BytesHeld(call) > limits_.bytes) && Halve(call)) {
    cost = CostOf(call);
  }
  return call;
}

double OpTimer::Measure(const OpCall& call) const {
  constexpr int kLeastRuns = 3;
  constexpr int kMostRuns = 20;
  constexpr double kEnoughSeconds = 2e-3;
  constexpr double kMostSeconds = 0.1;
  constexpr double kColdBytes = 64 << 20;  // several sets of operands do not all stay in caches
  constexpr double kMostSets = 8;
  TensorPool pool(stream_.device());
  Operands operands(ops_, pool);
  const double sets = std::clamp(kColdBytes / BytesHeld(call), 1.0, kMostSets);
  std::vector<Run> runs;
  for (int i = 0; i < static_cast<int>(sets); ++i) runs.push_back(Prepare(call, ops_, operands));
  const auto wait = [&] {
    const absl::Status done = stream_.Synchronize();
    LIQUID_CHECK(done.ok(), done.ToString());
  };
  runs[0]();  // takes workspace, chooses algorithms
  wait();
  std::vector<double> times;
  double spent = 0;
  for (int i = 0; i < kMostRuns; ++i) {
    if (i >= kLeastRuns ? spent >= kEnoughSeconds : spent >= kMostSeconds) break;
    const double start = clock_();
    runs[static_cast<size_t>(i + 1) % runs.size()]();
    wait();
    const double seconds = clock_() - start;
    times.push_back(seconds);
    spent += seconds;
  }
  // What the sum of many comes to: not the best.
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

double OpTimer::Seconds(const OpCall& call) {
  const OpCall small = CutDown(call);
  const auto [found, is_new] = seconds_.emplace(small, 0);
  if (is_new) found->second = Measure(small);
  const OpCost whole = CostOf(call);
  const OpCost part = CostOf(small);
  const double scale = part.flops > 0 ? whole.flops / part.flops : whole.bytes / part.bytes;
  return found->second * scale;
}

}  // namespace liquid
