// A model on a device with all that it needs, and batches for it.
#ifndef LIQUID_TESTS_MODEL_MODEL_ON_DEVICE_H_
#define LIQUID_TESTS_MODEL_MODEL_ON_DEVICE_H_

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "model/weights.h"
#include "tensor/device.h"
#include "tensor/pool.h"

namespace liquid::testing {

// Where the large golden files are, if anywhere.
inline std::string SharedDirectory() {
  const char* shared = std::getenv("LIQUID_SHARED");
  return shared == nullptr ? "../shared" : shared;
}

struct ModelOnDevice {
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Ops> ops;
  std::unique_ptr<TensorPool> pool;
  std::unique_ptr<Model> model;

  static absl::StatusOr<ModelOnDevice> Create(const ModelConfig& config,
                                              const TensorParallel& tensor = {},
                                              DType dtype = DType::kF32,
                                              DeviceType device = DeviceType::kCpu,
                                              const Tuning& tuning = {}) {
    ModelOnDevice it;
    if (device == DeviceType::kCuda) {
      LIQUID_ASSIGN_OR_RETURN(it.device, CreateCudaDevice(0));
    } else {
      it.device = CreateCpuDevice();
    }
    LIQUID_ASSIGN_OR_RETURN(it.stream, it.device->CreateStream());
    it.ops = CreateOps(*it.stream);
    it.pool = std::make_unique<TensorPool>(*it.device);
    LIQUID_ASSIGN_OR_RETURN(
        it.model, CreateModel(config, *it.ops, *it.stream, *it.pool, tensor, dtype, tuning));
    return it;
  }
  static absl::StatusOr<ModelOnDevice> Load(const std::string& directory,
                                            DeviceType device = DeviceType::kCpu) {
    LIQUID_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory + "/config.json"));
    LIQUID_ASSIGN_OR_RETURN(ModelOnDevice it, Create(config, {}, DType::kF32, device));
    LIQUID_RETURN_IF_ERROR(LoadWeights(directory, *it.model, nullptr));
    return it;
  }
};

// The values of a tensor on the stream's device.
inline std::vector<float> ToHost(Stream& stream, const ConstTensorView& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.NumElements()));
  stream.CopyToHost(values.data(), tensor.f32(), values.size() * sizeof(float));
  const absl::Status status = stream.Synchronize();
  LIQUID_CHECK(status.ok(), status.ToString());
  return values;
}

// A TokenBatch and its memory.
struct OwnedBatch {
  int64_t num_rows = 0;
  int64_t sequence_length = 0;
  std::vector<int32_t> tokens, targets, positions, document_start;
  std::vector<float> weights = {};      // none: all are 1
  std::vector<uint64_t> row_keys = {};  // none: nothing is random

  TokenBatch view() const {
    return {num_rows,  sequence_length, tokens,  targets,
            positions, document_start,  weights, row_keys};
  }
  int64_t num_scored() const {
    int64_t count = 0;
    for (const int32_t target : targets) count += target != kIgnoredTarget ? 1 : 0;
    return count;
  }
};

// A row made of `documents`, back to back; each token is scored against the next of its document.
inline OwnedBatch PackedRow(const std::vector<std::vector<int32_t>>& documents) {
  OwnedBatch batch;
  batch.num_rows = 1;
  for (const std::vector<int32_t>& document : documents) {
    const auto start = static_cast<int32_t>(batch.tokens.size());
    for (size_t i = 0; i < document.size(); ++i) {
      batch.tokens.push_back(document[i]);
      batch.targets.push_back(i + 1 < document.size() ? document[i + 1] : kIgnoredTarget);
      batch.positions.push_back(static_cast<int32_t>(i));
      batch.document_start.push_back(start);
    }
  }
  batch.sequence_length = static_cast<int64_t>(batch.tokens.size());
  return batch;
}

// `row` of equal length below `batch`.
inline void AppendRow(OwnedBatch& batch, const OwnedBatch& row) {
  batch.num_rows += 1;
  batch.sequence_length = row.sequence_length;
  for (const auto& [to, from] :
       {std::pair(&batch.tokens, &row.tokens), std::pair(&batch.targets, &row.targets),
        std::pair(&batch.positions, &row.positions),
        std::pair(&batch.document_start, &row.document_start)}) {
    to->insert(to->end(), from->begin(), from->end());
  }
}

// Forward and backward; losses, and the gradients in the order of the parameters.
struct Differentiated {
  std::vector<float> nll;
  std::vector<std::vector<float>> gradients;
};
inline Differentiated Differentiate(Model& model, const OwnedBatch& batch, float loss_scale,
                                    Recompute recompute = Recompute::kNone) {
  Differentiated result;
  result.nll.resize(batch.tokens.size());
  result.gradients.resize(model.parameters().size());
  model.ForwardBackward(
      batch.view(), loss_scale, recompute,
      [&](int index, ConstTensorView gradient) {
        result.gradients[index] = ToHost(model.stream(), gradient);
      },
      absl::MakeSpan(result.nll));
  return result;
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_MODEL_MODEL_ON_DEVICE_H_
