// Every operation of a training step on a GPU, at the shapes of docs/gpu.md (a layer of
// Llama-3-8B), over its floor: the time that its bytes need if each tensor passes once, or its
// floating-point operations, at the ceilings that the same run measured. Prints one table.
//
//   bench.gpu.kernels [--quick]
#include <algorithm>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "bench/gpu/gpu_bench.h"

namespace liquid::bench {
namespace {

constexpr DType kF32 = DType::kF32;
constexpr DType kBF16 = DType::kBF16;
constexpr float kSmall = 0.02f;  // deviation of weights and gradients

struct Sizes {
  int64_t tokens = 8192;  // one row of them
  int64_t width = 4096;
  int64_t mlp = 14336;
  int64_t heads = 32;
  int64_t kv_heads = 8;
  int64_t head_width = 128;
  int64_t vocabulary = 128256;
  int32_t window = 1024;
  int64_t parameters = int64_t{1} << 28;  // of optimizer cases

  int64_t QueryWidth() const { return heads * head_width; }
  int64_t KeyWidth() const { return kv_heads * head_width; }
};

constexpr Sizes kQuickSizes = {.tokens = 256,
                               .width = 256,
                               .mlp = 512,
                               .heads = 4,
                               .kv_heads = 2,
                               .head_width = 64,
                               .vocabulary = 1024,
                               .window = 32,
                               .parameters = int64_t{1} << 20};

struct Case {
  std::string name;
  double bytes = 0;
  double flops = 0;
  std::function<void()> enqueue;
};

// Of tensors that pass once. What is read and written is listed twice.
double Bytes(std::initializer_list<ConstTensorView> tensors) {
  double bytes = 0;
  for (const ConstTensorView& tensor : tensors) bytes += static_cast<double>(tensor.NumBytes());
  return bytes;
}

class KernelTable {
 public:
  explicit KernelTable(GpuBench& gpu)
      : gpu_(gpu),
        ops_(gpu.ops()),
        sizes_(gpu.quick() ? kQuickSizes : Sizes{}),
        ceilings_(gpu.MeasureCeilings()) {
    std::printf("ceilings: %.4g TFLOP/s, a bf16 product of %lld^3; %.4g GB/s, a copy of %lld MiB\n",
                ceilings_.flops_per_second / 1e12, static_cast<long long>(ceilings_.side),
                ceilings_.bytes_per_second / 1e9,
                static_cast<long long>(ceilings_.copied_bytes >> 20));
    std::printf("recipe: %s\n", ops_.Recipe(kBF16).c_str());
    std::printf("%-40s %9s %9s %10s %10s\n", "operation", "ms", "floor ms", "floor/ms", "reached");
  }

  void Elementwise();
  void Norms();
  void Rotary();
  void ShortConvolution();
  void Attention(const std::string& name, int num_documents, int32_t window);
  void LayerProducts();
  void ProductsOfBackward();
  void Embedding();
  void Loss();
  void Optimizer();
  const Sizes& sizes() const { return sizes_; }

 private:
  void Measure(const Case& item) {
    const double seconds = gpu_.Seconds(item.enqueue);
    const double moving = item.bytes / ceilings_.bytes_per_second;
    const double computing = item.flops / ceilings_.flops_per_second;
    const double floor = std::max(moving, computing);
    const bool computes = computing > moving;
    std::printf("%-40s %9.3f %9.3f %9.1f%% %10.4g %s\n", item.name.c_str(), 1e3 * seconds,
                1e3 * floor, 100 * floor / seconds,
                computes ? item.flops / seconds / 1e12 : item.bytes / seconds / 1e9,
                computes ? "TFLOP/s" : "GB/s");
    std::fflush(stdout);  // what was measured stays known if a later case fails
  }
  std::vector<int32_t> RandomIds(int64_t count) const {
    const CounterRandom random(3, 0);
    std::vector<int32_t> ids(count);
    for (int64_t i = 0; i < count; ++i) {
      ids[i] = static_cast<int32_t>(random.Uniform(i) * static_cast<double>(sizes_.vocabulary));
    }
    return ids;
  }
  void Product(GroupTensors& tensors, const std::string& name, int64_t in, int64_t out);

  GpuBench& gpu_;
  Ops& ops_;
  const Sizes sizes_;
  const Ceilings ceilings_;
};

void KernelTable::Elementwise() {
  GroupTensors tensors(gpu_);
  const Shape narrow = {sizes_.tokens, sizes_.width};
  const Shape wide = {sizes_.tokens, sizes_.mlp};
  const TensorView a = tensors.Random(kBF16, narrow);
  const TensorView b = tensors.Random(kBF16, narrow);
  const TensorView sum = tensors.Zeros(kBF16, narrow);
  Measure({"Add", Bytes({sum, a, b}), 0, [&] { ops_.Add(sum, a, b); }});
  const TensorView gate = tensors.Random(kBF16, wide);
  const TensorView up = tensors.Random(kBF16, wide);
  const TensorView out = tensors.Random(kBF16, wide);
  const TensorView full = tensors.Random(kF32, wide);
  Measure({"Copy, bf16 to fp32", Bytes({full, gate}), 0, [&] { ops_.Copy(full, gate); }});
  Measure({"Copy, fp32 to bf16", Bytes({out, full}), 0, [&] { ops_.Copy(out, full); }});
  Measure({"GatedActivate", Bytes({out, gate, up}), 0,
           [&] { ops_.GatedActivate(out, gate, up, Activation::kSilu); }});
  const TensorView dgate = tensors.Zeros(kBF16, wide);
  const TensorView dup = tensors.Zeros(kBF16, wide);
  Measure({"GatedActivateBackward", Bytes({dgate, dup, out, gate, up}), 0,
           [&] { ops_.GatedActivateBackward(dgate, dup, out, gate, up, Activation::kSilu); }});
}

void KernelTable::Norms() {
  GroupTensors tensors(gpu_);
  const Shape shape = {sizes_.tokens, sizes_.width};
  const TensorView x = tensors.Random(kBF16, shape);
  const TensorView dout = tensors.Random(kBF16, shape, kSmall);
  const TensorView out = tensors.Zeros(kBF16, shape);
  const TensorView weight = tensors.Random(kBF16, {sizes_.width});
  const TensorView dweight = tensors.Zeros(kF32, {sizes_.width});
  const TensorView rstd = tensors.Zeros(kF32, {sizes_.tokens});
  Measure({"RmsNorm", Bytes({out, rstd, x, weight}), 0,
           [&] { ops_.RmsNorm(out, rstd, x, weight, 1e-5f, 0.0f); }});
  Measure({"RmsNormBackward", Bytes({out, dweight, dweight, dout, x, weight, rstd}), 0,
           [&] { ops_.RmsNormBackward(out, dweight, dout, x, weight, rstd, 0.0f); }});
}

void KernelTable::Rotary() {
  GroupTensors tensors(gpu_);
  const Shape angles = {sizes_.tokens, sizes_.head_width / 2};
  const TensorView cos = tensors.Random(kF32, angles);
  const TensorView sin = tensors.Random(kF32, angles);
  std::vector<int32_t> positions(sizes_.tokens);
  for (int64_t i = 0; i < sizes_.tokens; ++i) positions[i] = static_cast<int32_t>(i);
  const int32_t* const at = tensors.Ints(positions);
  const Shape queries = {sizes_.tokens, sizes_.heads, sizes_.head_width};
  const Shape keys = {sizes_.tokens, sizes_.kv_heads, sizes_.head_width};
  const TensorView q = tensors.Random(kBF16, queries);
  const TensorView k = tensors.Random(kBF16, keys);
  const TensorView turned_q = tensors.Zeros(kBF16, queries);
  const TensorView turned_k = tensors.Zeros(kBF16, keys);
  Measure({"Rotary of q and k", Bytes({turned_q, turned_k, q, k, cos, sin}), 0, [&] {
             ops_.Rotary(turned_q, q, cos, sin, at, false);
             ops_.Rotary(turned_k, k, cos, sin, at, false);
           }});
}

// As in LFM2: three taps, half as wide as the layer of Llama-3-8B.
void KernelTable::ShortConvolution() {
  GroupTensors tensors(gpu_);
  const int64_t width = sizes_.width / 2;
  std::vector<int32_t> positions(sizes_.tokens);
  for (int64_t i = 0; i < sizes_.tokens; ++i) positions[i] = static_cast<int32_t>(i);
  const int32_t* const at = tensors.Ints(positions);
  const TensorView in = tensors.Random(kBF16, {sizes_.tokens, 3 * width});
  const TensorView din = tensors.Zeros(kBF16, {sizes_.tokens, 3 * width});
  const TensorView out = tensors.Random(kBF16, {sizes_.tokens, width}, kSmall);
  const TensorView weight = tensors.Random(kBF16, {width, 3});
  const TensorView dweight = tensors.Zeros(kF32, {width, 3});
  Measure({"ShortConvolutionBackward", Bytes({din, dweight, dweight, out, in, weight}), 0,
           [&] { ops_.ShortConvolutionBackward(din, dweight, out, in, weight, at); }});
  Measure({"ShortConvolution", Bytes({out, in, weight}), 0,
           [&] { ops_.ShortConvolution(out, in, weight, at); }});
}

void KernelTable::Attention(const std::string& name, int num_documents, int32_t window) {
  GroupTensors tensors(gpu_);
  const int64_t length = sizes_.tokens;
  std::vector<int32_t> starts(length);
  double pairs = 0;  // of a query and a key that it sees
  for (int64_t i = 0; i < length; ++i) {
    const int64_t document_length = length / num_documents;
    starts[i] = static_cast<int32_t>(i / document_length * document_length);
    const int64_t seen = i - starts[i] + 1;
    pairs += static_cast<double>(window > 0 ? std::min<int64_t>(seen, window) : seen);
  }
  const int32_t* const document_start = num_documents > 1 ? tensors.Ints(starts) : nullptr;
  const Shape queries = {1, length, sizes_.heads, sizes_.head_width};
  const Shape keys = {1, length, sizes_.kv_heads, sizes_.head_width};
  const TensorView q = tensors.Random(kBF16, queries);
  const TensorView k = tensors.Random(kBF16, keys);
  const TensorView v = tensors.Random(kBF16, keys);
  const TensorView out = tensors.Zeros(kBF16, queries);
  const TensorView lse = tensors.Zeros(kF32, {1, sizes_.heads, length});
  const AttentionOptions options = {.scale = 0.1f, .window = window};
  const double product = 2 * pairs * static_cast<double>(sizes_.QueryWidth());
  Measure({absl::StrCat("Attention, ", name), Bytes({out, lse, q, k, v}), 2 * product,
           [&] { ops_.Attention(out, lse, q, k, v, document_start, options); }});
  const TensorView dout = tensors.Random(kBF16, queries, kSmall);
  const TensorView dq = tensors.Zeros(kBF16, queries);
  const TensorView dk = tensors.Zeros(kBF16, keys);
  const TensorView dv = tensors.Zeros(kBF16, keys);
  // Two passes that both recompute the scores: seven products, where five would be the least.
  Measure({absl::StrCat("AttentionBackward, ", name), Bytes({dq, dk, dv, dout, q, k, v, out, lse}),
           7 * product, [&] {
             ops_.AttentionBackward(dq, dk, dv, dout, q, k, v, out, lse, document_start, options);
           }});
}

// out [N,out] = x [N,in] weight [out,in]^T.
void KernelTable::Product(GroupTensors& tensors, const std::string& name, int64_t in, int64_t out) {
  const TensorView x = tensors.Random(kBF16, {sizes_.tokens, in});
  const TensorView weight = tensors.Random(kBF16, {out, in}, kSmall);
  const TensorView y = tensors.Zeros(kBF16, {sizes_.tokens, out});
  Measure({absl::StrCat("MatMul, ", name), Bytes({y, x, weight}),
           2.0 * static_cast<double>(sizes_.tokens * in * out),
           [&] { ops_.MatMul(y, x, weight, {.transpose_b = true}); }});
}

void KernelTable::LayerProducts() {
  struct Projection {
    const char* name;
    int64_t in, out;
  };
  for (const Projection& projection :
       {Projection{"q", sizes_.width, sizes_.QueryWidth()},
        Projection{"k", sizes_.width, sizes_.KeyWidth()},
        Projection{"v", sizes_.width, sizes_.KeyWidth()},
        Projection{"o", sizes_.QueryWidth(), sizes_.width},
        Projection{"gate", sizes_.width, sizes_.mlp}, Projection{"up", sizes_.width, sizes_.mlp},
        Projection{"down", sizes_.mlp, sizes_.width}}) {
    GroupTensors tensors(gpu_);
    Product(tensors, projection.name, projection.in, projection.out);
  }
}

void KernelTable::ProductsOfBackward() {
  GroupTensors tensors(gpu_);
  const TensorView x = tensors.Random(kBF16, {sizes_.tokens, sizes_.width});
  const TensorView dout = tensors.Random(kBF16, {sizes_.tokens, sizes_.mlp}, kSmall);
  const TensorView weight = tensors.Random(kBF16, {sizes_.mlp, sizes_.width}, kSmall);
  const TensorView dx = tensors.Zeros(kBF16, {sizes_.tokens, sizes_.width});
  const TensorView dweight = tensors.Zeros(kF32, {sizes_.mlp, sizes_.width});
  const double flops = 2.0 * static_cast<double>(sizes_.tokens * sizes_.width * sizes_.mlp);
  Measure({"MatMul, dx of gate", Bytes({dx, dout, weight}), flops,
           [&] { ops_.MatMul(dx, dout, weight, {}); }});
  Measure({"MatMul, dx of gate, added", Bytes({dx, dx, dout, weight}), flops,
           [&] { ops_.MatMul(dx, dout, weight, {.accumulate = true}); }});
  Measure({"MatMul, dweight of gate, fp32", Bytes({dweight, dweight, dout, x}), flops,
           [&] { ops_.MatMul(dweight, dout, x, {.transpose_a = true, .accumulate = true}); }});
}

void KernelTable::Embedding() {
  GroupTensors tensors(gpu_);
  const Shape shape = {sizes_.tokens, sizes_.width};
  const std::vector<int32_t> values = RandomIds(sizes_.tokens);
  const int64_t distinct = static_cast<int64_t>(std::set(values.begin(), values.end()).size());
  const int32_t* const ids = tensors.Ints(values);
  const TensorView table = tensors.Random(kBF16, {sizes_.vocabulary, sizes_.width}, kSmall);
  const TensorView dtable = tensors.Zeros(kF32, {sizes_.vocabulary, sizes_.width});
  const TensorView out = tensors.Random(kBF16, shape, kSmall);
  const auto rows_bytes = static_cast<double>(distinct * sizes_.width * SizeOf(kBF16));
  Measure({"EmbeddingBackward", Bytes({out}) + 4 * rows_bytes, 0,  // fp32, read and written
           [&] { ops_.EmbeddingBackward(dtable, ids, out); }});
  Measure({"Embedding", Bytes({out}) + rows_bytes, 0, [&] { ops_.Embedding(out, ids, table); }});
}

void KernelTable::Loss() {
  GroupTensors tensors(gpu_);
  const TensorView x = tensors.Random(kBF16, {sizes_.tokens, sizes_.width});
  const TensorView weight = tensors.Random(kBF16, {sizes_.vocabulary, sizes_.width}, kSmall);
  const TensorView dx = tensors.Zeros(kBF16, {sizes_.tokens, sizes_.width});
  const TensorView dweight = tensors.Zeros(kF32, {sizes_.vocabulary, sizes_.width});
  const TensorView nll = tensors.Zeros(kF32, {sizes_.tokens});
  const int32_t* const targets = tensors.Ints(RandomIds(sizes_.tokens));
  const float* const scale = tensors.Random(kF32, {1}, kSmall).f32();
  const double product =
      2.0 * static_cast<double>(sizes_.tokens * sizes_.width * sizes_.vocabulary);
  Measure({"LinearCrossEntropyWithGradient", Bytes({nll, dx, dweight, dweight, x, weight}),
           3 * product, [&] {
             ops_.LinearCrossEntropyWithGradient(nll, dx, dweight, x, weight, targets, nullptr,
                                                 /*cap=*/0, scale, nullptr);
           }});
}

void KernelTable::Optimizer() {
  GroupTensors tensors(gpu_);
  const Shape shape = {sizes_.parameters};
  const TensorView gradient = tensors.Random(kF32, shape, kSmall);
  const TensorView sum = tensors.Zeros(DType::kI64, shape);
  auto* const flag = static_cast<int32_t*>(tensors.Zeros(DType::kI32, {1}).data);
  const std::string what = absl::StrCat(" of ", sizes_.parameters >> 20, " Mi");
  Measure({absl::StrCat("Accumulate, exact,", what), Bytes({sum, sum, gradient}), 0,
           [&] { ops_.Accumulate(sum, gradient, int64_t{1} << kFixedPointBits, flag); }});
  const TensorView chunks =
      tensors.Zeros(DType::kF64, {(sizes_.parameters + kNormChunk - 1) / kNormChunk});
  Measure({absl::StrCat("SumOfSquares, exact,", what), Bytes({chunks, sum}), 0,
           [&] { ops_.SumOfSquares(chunks, sum); }});
  const TensorView weight = tensors.Random(kF32, shape, kSmall);
  const TensorView moment = tensors.Zeros(kF32, shape);
  const TensorView second_moment = tensors.Zeros(kF32, shape);
  AdamWOptions options;
  options.learning_rate = 1e-4f;
  options.weight_decay = 0.1f;
  Measure({absl::StrCat("AdamW", what), 2 * Bytes({weight, moment, second_moment, sum}), 0,
           [&] { ops_.AdamW(weight, moment, second_moment, sum, options); }});
}

int Main(int argc, char** argv) {
  const std::unique_ptr<GpuBench> gpu = CreateGpuBench(argc, argv);
  if (gpu == nullptr) return 1;
  KernelTable table(*gpu);
  table.Norms();
  table.Rotary();
  table.ShortConvolution();
  table.Elementwise();
  table.Attention("causal", 1, 0);
  table.Attention("causal, 4 documents", 4, 0);
  table.Attention(absl::StrCat("window of ", table.sizes().window), 1, table.sizes().window);
  table.LayerProducts();
  table.ProductsOfBackward();
  table.Loss();
  table.Embedding();
  table.Optimizer();
  return 0;
}

}  // namespace
}  // namespace liquid::bench

int main(int argc, char** argv) { return liquid::bench::Main(argc, argv); }
