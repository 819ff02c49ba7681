// What all decoder-only families share: embedding, a stack of blocks, a last norm, an output head.
// A family (model/families/) says what its parameters are and how a block computes.
#ifndef LIQUID_MODEL_DECODER_H_
#define LIQUID_MODEL_DECODER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/layers.h"
#include "model/model.h"
#include "model/rotary_table.h"

namespace liquid {

class Decoder : public Model {
 public:
  ~Decoder() override;
  // To be called at most once, after the constructor. InvalidArgument: a pattern fits nothing, or
  // nothing is left to train.
  absl::Status Tune(const Tuning& tuning);
  // To be called once after that, if more is wanted than parameters' shapes. The error of the first
  // parameter that cannot be spread as asked; such a model cannot be used.
  absl::Status AllocateWeights();
  const ModelConfig& config() const override { return config_; }
  absl::Span<const Parameter> parameters() const override { return parameters_; }
  const FlatLayout& layout() const override { return *layout_; }
  TensorView weights() const override { return weights_.view(); }
  TensorView frozen_weights() const override {
    return frozen_ ? frozen_.view() : TensorView(nullptr, dtype_, {0});
  }
  const AdapterConfig* adapter() const override {
    return adapter_.has_value() ? &*adapter_ : nullptr;
  }
  const TensorParallel& tensor_parallel() const override { return tensor_; }
  Stream& stream() override { return stream_; }
  absl::Span<const int> gradient_order() const override { return gradient_order_; }
  TensorPool& activations() override { return activations_; }
  void ForwardBackward(const TokenBatch& batch, float loss_scale, Recompute recompute,
                       const GradientSink& sink, absl::Span<float> nll,
                       Repetition repetition) override;
  void Evaluate(const TokenBatch& batch, absl::Span<float> nll,
                absl::Span<uint8_t> correct) override;
  Activations Inspect(const TokenBatch& batch) override;
  std::unique_ptr<KeyValueCache> CreateCache(int64_t max_tokens) override;
  std::vector<float> Extend(KeyValueCache& cache, absl::Span<const int32_t> tokens) override;

 protected:
  Decoder(const ModelConfig& config, Ops& ops, Stream& stream, TensorPool& pool,
          const TensorParallel& tensor_parallel, DType dtype);

  // Called by a family's constructor, in the order of the checkpoint. The index of the parameter.
  int AddParameter(std::string name, const Shape& shape, const Partition& partition = {});
  int AddTable(std::string name) { return AddTable(std::move(name), config_.hidden_size); }
  int AddTable(std::string name, int64_t width);  // [V,width], by its rows
  int AddConstant(std::string name);              // [1], which is not trained
  static Partition ByRows(const char* unit, int64_t num_units, int64_t sections = 1) {
    return {Partition::Kind::kRows, unit, num_units, sections};
  }
  static Partition ByColumns(Partition by_rows) {
    by_rows.kind = Partition::Kind::kColumns;
    return by_rows;
  }
  Partition AttentionHeads() const { return ByRows("attention heads", config_.num_heads); }
  static Partition KeyValueHeads(int64_t num_kv_heads) {
    Partition heads = ByRows("key/value heads", num_kv_heads);
    heads.may_be_shared = true;
    return heads;
  }
  static Partition PerHead() { return {.kind = Partition::Kind::kPerHead}; }
  // The family's next table, by the number that Rotary(..) is given.
  void UseRotary(const RopeConfig& rope, int64_t head_dim);
  // Rows are cut into so many parts by Part(..).
  void set_num_parts(int64_t num_parts) { num_parts_ = num_parts; }
  // Its weights are stored [I,O].
  void set_input_major() { is_input_major_ = true; }
  // A matrix that rows are looked up in, and that nothing is multiplied by.
  void MarkTable(int parameter) { tables_.insert(parameter); }
  DType dtype() const { return dtype_; }
  void set_head(int parameter) { head_ = parameter; }  // [V,D]; the token table if tied

  virtual Variable Embed(Pass& pass) = 0;                         // [N,D]
  virtual Variable Block(Pass& pass, int layer, Variable x) = 0;  // [N,D] -> [N,D]
  virtual Variable FinalNorm(Pass& pass, Variable x) = 0;         // [N,D] -> [N,D]

 private:
  // A batch's numbers in device memory; and what is to be done with them.
  struct DeviceBatch;
  struct RecordedPass;
  absl::Status Freeze(absl::Span<const std::string> patterns);
  absl::Status AddAdapters(const AdapterConfig& config);
  void AddAdapter(int weight, int64_t rank);
  // The weights of linear layers.
  std::vector<int> LinearWeights() const;
  void Upload(const TokenBatch& batch, float loss_scale, const DeviceBatch& device);
  DeviceBatch Upload(const TokenBatch& batch, float loss_scale = 1.0f);
  DeviceBatch AllocateBatch(int64_t num_tokens, bool has_weights);
  void EnqueueForwardBackward(const TokenBatch& batch, const DeviceBatch& device,
                              Recompute recompute, const GradientSink& sink, TensorView losses);
  // As ForwardBackward with Repetition::kOfShape: the losses.
  std::vector<float> Repeat(const TokenBatch& batch, float loss_scale, Recompute recompute,
                            const GradientSink& sink);
  // To be called before a pass over `batch`: tables reach as far as its positions and tokens.
  void ReservePositions(const TokenBatch& batch);
  void ReserveParts(int64_t num_tokens);
  // What was recorded has read from tables that are gone.
  void DropRecordings();
  Pass MakePass(Tape& tape, const TokenBatch& batch, const DeviceBatch& device);
  // Block, of which a differentiating pass keeps what `recompute` says.
  Variable RunBlock(Pass& pass, int layer, Variable x, Recompute recompute);
  // Embedding to last norm. `probe`, if given, sees the residual streams and the result.
  Variable Forward(Pass& pass, Recompute recompute, absl::FunctionRef<void(const Variable&)> probe);
  bool IsOthersToGive(const Parameter& parameter) const;
  std::vector<float> ToHost(ConstTensorView tensor);        // kF32 or kBF16
  std::vector<float> ResidualToHost(ConstTensorView x);     // all tokens
  std::vector<float> LogitsToHost(ConstTensorView logits);  // the whole vocabulary
  PooledTensor IntegersOnDevice(const Shape& shape, const std::vector<int32_t>& values);
  PooledTensor PositionsWithCache(int64_t num_cached, int64_t length);
  void CapLogits(std::vector<float>& logits) const;

  ModelConfig config_;
  Ops& ops_;
  Stream& stream_;
  TensorPool& pool_;
  TensorPool activations_;
  const TensorParallel tensor_;
  const DType dtype_;
  absl::Status status_;  // of AddParameter
  std::vector<Parameter> parameters_;
  std::vector<int> gradient_order_;  // of the latest ForwardBackward
  std::optional<FlatLayout> layout_;
  PooledTensor weights_;
  PooledTensor frozen_;
  bool is_input_major_ = false;
  std::set<int> tables_;  // parameters
  std::optional<AdapterConfig> adapter_;
  Adapters adapters_;
  float noise_ = 0;
  std::vector<int32_t> host_integers_;  // of the latest Upload
  std::vector<RotaryTable> rotaries_;
  int64_t num_parts_ = 0;
  PooledTensor parts_;  // kI32 [num_parts,stride]; none if the family cuts no rows
  // By rows, length, recompute, whether targets have weights, whether rows have keys.
  std::map<std::tuple<int64_t, int64_t, Recompute, bool, bool>, std::unique_ptr<RecordedPass>>
      recorded_;
  int head_ = -1;
};

}  // namespace liquid

#endif  // LIQUID_MODEL_DECODER_H_
