// Ops that keep count of the time spent in each operation of another Ops.
#ifndef LIQUID_BENCH_MODEL_TIMED_OPS_H_
#define LIQUID_BENCH_MODEL_TIMED_OPS_H_

#include <time.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "kernels/ops.h"

namespace liquid::bench {

inline double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of all threads of this process.
inline double ProcessorSeconds() {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Beside wall time it counts the processor time of all threads, which other programs on the machine
// disturb less.
class TimedOps final : public Ops {
 public:
  // `stream`, which must outlive this: that of `ops`, each operation of which is waited for.
  TimedOps(std::unique_ptr<Ops> ops, Stream& stream) : ops_(std::move(ops)), stream_(stream) {}

  std::string Recipe(DType dtype) const override { return ops_->Recipe(dtype); }
  int64_t WorkspaceBytes() const override { return ops_->WorkspaceBytes(); }

  void Reset() { times_.clear(); }
  // Milliseconds by operation, divided by `num_steps`.
  void Print(int num_steps) const {
    Times total;
    std::printf("  %-32s %9s %9s ms\n", "", "wall", "processor");
    for (const auto& [name, times] : times_) {
      PrintLine(name, times, num_steps);
      total.wall += times.wall;
      total.processor += times.processor;
    }
    PrintLine("all operations", total, num_steps);
  }

  void MatMul(TensorView out, ConstTensorView a, ConstTensorView b,
              MatMulOptions options) override {
    Time(std::string("MatMul ") + (options.transpose_a ? "T" : "N") +
             (options.transpose_b ? "T" : "N"),
         [&] { ops_->MatMul(out, a, b, options); });
  }
  void AddBias(TensorView inout, ConstTensorView bias) override {
    Time("AddBias", [&] { ops_->AddBias(inout, bias); });
  }
  void AddBiasBackward(TensorView dbias, ConstTensorView dout) override {
    Time("AddBiasBackward", [&] { ops_->AddBiasBackward(dbias, dout); });
  }
  void Fill(TensorView out, float value) override {
    Time("Fill", [&] { ops_->Fill(out, value); });
  }
  void Copy(TensorView out, ConstTensorView x) override {
    Time("Copy", [&] { ops_->Copy(out, x); });
  }
  void Add(TensorView out, ConstTensorView a, ConstTensorView b) override {
    Time("Add", [&] { ops_->Add(out, a, b); });
  }
  void Scale(TensorView out, ConstTensorView x, float factor) override {
    Time("Scale", [&] { ops_->Scale(out, x, factor); });
  }
  void ScaleBy(TensorView out, ConstTensorView x, ConstTensorView factor) override {
    Time("ScaleBy", [&] { ops_->ScaleBy(out, x, factor); });
  }
  void Embedding(TensorView out, const int32_t* ids, ConstTensorView table) override {
    Time("Embedding", [&] { ops_->Embedding(out, ids, table); });
  }
  void EmbeddingBackward(TensorView dtable, const int32_t* ids, ConstTensorView dout) override {
    Time("EmbeddingBackward", [&] { ops_->EmbeddingBackward(dtable, ids, dout); });
  }
  void RmsNorm(TensorView out, TensorView rstd, ConstTensorView x, ConstTensorView weight,
               float eps, float offset) override {
    Time("RmsNorm", [&] { ops_->RmsNorm(out, rstd, x, weight, eps, offset); });
  }
  void RmsNormBackward(TensorView dx, TensorView dweight, ConstTensorView dout, ConstTensorView x,
                       ConstTensorView weight, ConstTensorView rstd, float offset) override {
    Time("RmsNormBackward",
         [&] { ops_->RmsNormBackward(dx, dweight, dout, x, weight, rstd, offset); });
  }
  void LayerNorm(TensorView out, TensorView mean, TensorView rstd, ConstTensorView x,
                 ConstTensorView weight, ConstTensorView bias, float eps) override {
    Time("LayerNorm", [&] { ops_->LayerNorm(out, mean, rstd, x, weight, bias, eps); });
  }
  void LayerNormBackward(TensorView dx, TensorView dweight, TensorView dbias, ConstTensorView dout,
                         ConstTensorView x, ConstTensorView weight, ConstTensorView mean,
                         ConstTensorView rstd) override {
    Time("LayerNormBackward",
         [&] { ops_->LayerNormBackward(dx, dweight, dbias, dout, x, weight, mean, rstd); });
  }
  void Rotary(TensorView out, ConstTensorView x, ConstTensorView cos, ConstTensorView sin,
              const int32_t* positions, bool inverse) override {
    Time("Rotary", [&] { ops_->Rotary(out, x, cos, sin, positions, inverse); });
  }
  void Attention(TensorView out, TensorView lse, ConstTensorView q, ConstTensorView k,
                 ConstTensorView v, const int32_t* document_start,
                 AttentionOptions options) override {
    Time("Attention", [&] { ops_->Attention(out, lse, q, k, v, document_start, options); });
  }
  void AttentionBackward(TensorView dq, TensorView dk, TensorView dv, ConstTensorView dout,
                         ConstTensorView q, ConstTensorView k, ConstTensorView v,
                         ConstTensorView out, ConstTensorView lse, const int32_t* document_start,
                         AttentionOptions options) override {
    Time("AttentionBackward", [&] {
      ops_->AttentionBackward(dq, dk, dv, dout, q, k, v, out, lse, document_start, options);
    });
  }
  void Activate(TensorView out, ConstTensorView x, Activation activation) override {
    Time("Activate", [&] { ops_->Activate(out, x, activation); });
  }
  void ActivateBackward(TensorView dx, ConstTensorView dout, ConstTensorView x,
                        Activation activation) override {
    Time("ActivateBackward", [&] { ops_->ActivateBackward(dx, dout, x, activation); });
  }
  void GatedActivate(TensorView out, ConstTensorView gate, ConstTensorView up,
                     Activation activation) override {
    Time("GatedActivate", [&] { ops_->GatedActivate(out, gate, up, activation); });
  }
  void GatedActivateBackward(TensorView dgate, TensorView dup, ConstTensorView dout,
                             ConstTensorView gate, ConstTensorView up,
                             Activation activation) override {
    Time("GatedActivateBackward",
         [&] { ops_->GatedActivateBackward(dgate, dup, dout, gate, up, activation); });
  }
  void ShortConvolution(TensorView out, ConstTensorView in, ConstTensorView weight,
                        const int32_t* positions) override {
    Time("ShortConvolution", [&] { ops_->ShortConvolution(out, in, weight, positions); });
  }
  void ShortConvolutionBackward(TensorView din, TensorView dweight, ConstTensorView dout,
                                ConstTensorView in, ConstTensorView weight,
                                const int32_t* positions) override {
    Time("ShortConvolutionBackward",
         [&] { ops_->ShortConvolutionBackward(din, dweight, dout, in, weight, positions); });
  }
  void Dropout(TensorView out, ConstTensorView x, float probability,
               const RandomPlace& place) override {
    Time("Dropout", [&] { ops_->Dropout(out, x, probability, place); });
  }
  void AddNoise(TensorView out, ConstTensorView x, float magnitude,
                const RandomPlace& place) override {
    Time("AddNoise", [&] { ops_->AddNoise(out, x, magnitude, place); });
  }
  void LinearCrossEntropy(TensorView nll, int32_t* correct, ConstTensorView x,
                          ConstTensorView weight, const int32_t* targets, float cap,
                          const VocabularyPart* part) override {
    Time("LinearCrossEntropy",
         [&] { ops_->LinearCrossEntropy(nll, correct, x, weight, targets, cap, part); });
  }
  void LinearCrossEntropyWithGradient(TensorView nll, TensorView dx, TensorView dweight,
                                      ConstTensorView x, ConstTensorView weight,
                                      const int32_t* targets, const float* token_weights, float cap,
                                      const float* gradient_scale,
                                      const VocabularyPart* part) override {
    Time("LinearCrossEntropyWithGradient", [&] {
      ops_->LinearCrossEntropyWithGradient(nll, dx, dweight, x, weight, targets, token_weights, cap,
                                           gradient_scale, part);
    });
  }
  void Accumulate(TensorView sum, ConstTensorView gradient, int64_t limit, int32_t* flag) override {
    Time("Accumulate", [&] { ops_->Accumulate(sum, gradient, limit, flag); });
  }
  void SumOfSquares(TensorView chunks, ConstTensorView sum) override {
    Time("SumOfSquares", [&] { ops_->SumOfSquares(chunks, sum); });
  }
  void AdamW(TensorView weight, TensorView exp_avg, TensorView exp_avg_sq, TensorView sum,
             const AdamWOptions& options) override {
    Time("AdamW", [&] { ops_->AdamW(weight, exp_avg, exp_avg_sq, sum, options); });
  }

 private:
  struct Times {
    double wall = 0;
    double processor = 0;
  };

  static void PrintLine(const std::string& name, const Times& times, int num_steps) {
    std::printf("  %-32s %9.1f %9.1f\n", name.c_str(), 1e3 * times.wall / num_steps,
                1e3 * times.processor / num_steps);
  }

  template <typename Fn>
  void Time(const std::string& name, const Fn& fn) {
    const double wall = WallSeconds();
    const double processor = ProcessorSeconds();
    fn();
    const absl::Status status = stream_.Synchronize();
    LIQUID_CHECK(status.ok(), status.ToString());
    Times& times = times_[name];
    times.wall += WallSeconds() - wall;
    times.processor += ProcessorSeconds() - processor;
  }

  std::unique_ptr<Ops> ops_;
  Stream& stream_;
  std::map<std::string, Times> times_;
};

}  // namespace liquid::bench

#endif  // LIQUID_BENCH_MODEL_TIMED_OPS_H_
