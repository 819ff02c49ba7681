// Tiny models of each family against float64 results: activations, gradients, three AdamW steps.
// The format and the bounds are described in tests/model/golden/README.md.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "checkpoint/hf_directory.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/model/model_on_device.h"
#include "tests/model/spread_model.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::Differentiate;
using ::liquid::testing::Differentiated;
using ::liquid::testing::IsOk;
using ::liquid::testing::ModelOnDevice;
using ::liquid::testing::OwnedBatch;
using ::liquid::testing::SharedDirectory;
using ::liquid::testing::SpreadModel;
using ::liquid::testing::ToHost;

// Four times or more what float32 costs, far below what a mistake costs.
constexpr double kActivationBound = 3e-5;  // max|a-b| / max|b|
constexpr double kLossBound = 1e-5;
constexpr double kGradientBound = 1e-4;  // norm of the difference, relative, each tensor
constexpr double kStepLossBound = 2e-4;
constexpr double kNormBound = 3e-4;       // relative
constexpr double kParameterBound = 8e-3;  // relative to the change, each tensor
constexpr double kMedianParameterBound = 3e-4;

struct WorstErrors {
  double activations = 0, loss = 0, gradients = 0, step_loss = 0, norm = 0, parameters = 0,
         median_parameter = 0;
};

class Golden {
 public:
  explicit Golden(WeightSource source) : source_(std::move(source)) {}

  bool Has(const std::string& name) const { return source_.Find(name).ok(); }
  std::vector<float> Floats(const std::string& name) const {
    auto tensor = source_.Find(name);
    EXPECT_THAT(tensor, IsOk());
    if (!tensor.ok()) return {};
    std::vector<float> values(tensor->bytes().size() / sizeof(float));
    const absl::Status status =
        source_.ReadF32(name, values.data(), static_cast<int64_t>(values.size()));
    EXPECT_THAT(status, IsOk());
    return values;
  }
  double Scalar(const std::string& name) const {
    const std::vector<float> values = Floats(name);
    return values.size() == 1 ? static_cast<double>(values[0]) : std::nan("");
  }
  std::vector<int64_t> Integers(const std::string& name) const {
    auto tensor = source_.Find(name);
    EXPECT_THAT(tensor, IsOk());
    if (!tensor.ok()) return {};
    std::vector<int64_t> values(tensor->bytes().size() / sizeof(int64_t));
    std::memcpy(values.data(), tensor->bytes().data(), tensor->bytes().size());
    return values;
  }

  // The batch, with the labels shifted: position t is scored against label t + 1 of its row.
  OwnedBatch Batch() const {
    OwnedBatch batch;
    const auto shape = source_.Find("input_ids")->spec().shape;
    batch.num_rows = shape[0];
    batch.sequence_length = shape[1];
    const std::vector<int64_t> ids = Integers("input_ids");
    const std::vector<int64_t> labels = Integers("labels");
    for (int64_t i = 0; i < static_cast<int64_t>(ids.size()); ++i) {
      const int64_t t = i % batch.sequence_length;
      const bool last = t + 1 == batch.sequence_length;
      batch.tokens.push_back(static_cast<int32_t>(ids[i]));
      batch.targets.push_back(last ? kIgnoredTarget : static_cast<int32_t>(labels[i + 1]));
      batch.positions.push_back(static_cast<int32_t>(t));
      batch.document_start.push_back(0);
    }
    return batch;
  }

 private:
  WeightSource source_;
};

double Norm(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - (b.empty() ? 0.0 : b[i]);
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

double RelativeToLargest(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0, largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return worst / largest;
}

// The key third of GPT-2's c_attn.bias has an exactly zero gradient, which in float32 is noise that
// Adam makes steps of.
std::vector<float> WithoutKeyBias(const std::string& name, std::vector<float> values) {
  if (!name.ends_with("attn.c_attn.bias")) return values;
  const auto third = static_cast<int64_t>(values.size() / 3);
  values.erase(values.begin() + third, values.begin() + 2 * third);
  return values;
}

std::vector<float> Values(Model& model, const Parameter& parameter) {
  return ToHost(model.stream(), parameter.value);
}

double MeanLoss(const std::vector<float>& nll, const OwnedBatch& batch) {
  double sum = 0;
  for (const float value : nll) sum += value;
  return sum / static_cast<double>(batch.num_scored());
}

// One AdamW update as the trainer does it, on exact sums. The norm before clipping.
double Update(ModelOnDevice& on, const Differentiated& result, int64_t step,
              std::vector<PooledTensor>& moments) {
  const absl::Span<const Parameter> parameters = on.model->parameters();
  double squares = 0;
  const PooledTensor flag = on.pool->Allocate(DType::kI32, {1});
  on.ops->Fill(TensorView(flag.view().data, DType::kF32, {1}), 0.0f);
  std::vector<PooledTensor> sums;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Shape& shape = parameters[i].shape;
    sums.push_back(on.pool->Allocate(DType::kI64, shape));
    on.ops->Fill(TensorView(sums[i].view().data, DType::kF32, {2 * shape.NumElements()}), 0.0f);
    const PooledTensor gradient = on.pool->AllocateF32(shape);
    std::vector<float> values_of_gradient = result.gradients[i];
    values_of_gradient.resize(shape.NumElements());  // zeros, if it has none
    on.stream->CopyFromHost(gradient.view().data, values_of_gradient.data(),
                            static_cast<size_t>(gradient.view().NumBytes()));
    on.ops->Accumulate(sums[i].view(), gradient.view(), int64_t{1} << 62,
                       static_cast<int32_t*>(flag.view().data));
    const int64_t num_chunks = (shape.NumElements() + kNormChunk - 1) / kNormChunk;
    const PooledTensor chunks = on.pool->Allocate(DType::kF64, {num_chunks});
    on.ops->SumOfSquares(chunks.view(), sums[i].view());
    std::vector<double> values(static_cast<size_t>(num_chunks));
    on.stream->CopyToHost(values.data(), chunks.view().data, values.size() * sizeof(double));
    EXPECT_THAT(on.stream->Synchronize(), IsOk());
    for (const double value : values) squares += value;
    if (step == 1) {
      for (int k = 0; k < 2; ++k) {
        moments.push_back(on.pool->AllocateF32(shape));
        on.ops->Fill(moments.back().view(), 0.0f);
      }
    }
  }
  int32_t flagged = -1;
  on.stream->CopyToHost(&flagged, flag.view().data, sizeof(flagged));
  EXPECT_THAT(on.stream->Synchronize(), IsOk());
  EXPECT_EQ(flagged, 0);
  AdamWOptions options;
  options.learning_rate = 1e-3f;
  options.step = step;
  options.gradient_scale = static_cast<float>(std::min(1.0, 1.0 / (std::sqrt(squares) + 1e-6)));
  for (size_t i = 0; i < parameters.size(); ++i) {
    options.weight_decay = parameters[i].decays ? 0.1f : 0.0f;
    on.ops->AdamW(parameters[i].value, moments[2 * i].view(), moments[2 * i + 1].view(),
                  sums[i].view(), options);
  }
  return std::sqrt(squares);
}

// Names as in `golden`, which for GPT-2 has the form without the prefix.
std::string NameIn(const Golden& golden, const std::string& name) {
  const std::string prefix = "transformer.";
  return name.starts_with(prefix) && !golden.Has("grad." + name) ? name.substr(prefix.size())
                                                                 : name;
}

void CompareActivations(ModelOnDevice& on, const Golden& golden, WorstErrors& worst) {
  const Model::Activations activations = on.model->Inspect(golden.Batch().view());
  const int64_t num_layers = on.model->config().num_layers;
  ASSERT_EQ(static_cast<int64_t>(activations.hidden.size()), num_layers + 2);
  const auto compare = [&](const std::string& name, const std::vector<float>& values) {
    const double error = RelativeToLargest(values, golden.Floats(name));
    EXPECT_LE(error, kActivationBound) << name;
    worst.activations = std::max(worst.activations, error);
  };
  for (int64_t i = 0; i <= num_layers; ++i) {
    compare(absl::StrCat("hidden.", i), activations.hidden[i]);
  }
  compare("hidden.final", activations.hidden[num_layers + 1]);
  compare("logits", activations.logits);
}

void CompareGradients(ModelOnDevice& on, const Golden& golden, const Differentiated& result,
                      WorstErrors& worst) {
  for (size_t i = 0; i < result.gradients.size(); ++i) {
    if (!on.model->parameters()[i].trains) continue;
    const std::string name = "grad." + NameIn(golden, on.model->parameters()[i].name);
    const std::vector<float> expected = golden.Floats(name);
    ASSERT_EQ(result.gradients[i].size(), expected.size()) << name;
    const double error = Norm(result.gradients[i], expected) / Norm(expected, {});
    EXPECT_LE(error, kGradientBound) << name;
    worst.gradients = std::max(worst.gradients, error);
  }
}

void CompareParameters(ModelOnDevice& on, const Golden& golden,
                       const std::vector<std::vector<float>>& initial, WorstErrors& worst) {
  std::vector<double> errors;
  for (size_t i = 0; i < initial.size(); ++i) {
    const Parameter& parameter = on.model->parameters()[i];
    if (!parameter.trains) {
      EXPECT_EQ(Values(*on.model, parameter), initial[i]) << parameter.name;
      continue;
    }
    const std::string name = "param_step3." + NameIn(golden, parameter.name);
    const std::vector<float> expected = WithoutKeyBias(name, golden.Floats(name));
    const double change = Norm(expected, WithoutKeyBias(name, initial[i]));
    errors.push_back(Norm(WithoutKeyBias(name, Values(*on.model, parameter)), expected) / change);
    EXPECT_LE(errors.back(), kParameterBound) << name;
  }
  std::sort(errors.begin(), errors.end());
  worst.parameters = errors.back();
  worst.median_parameter = errors[errors.size() / 2];
  EXPECT_LE(worst.median_parameter, kMedianParameterBound);
}

WorstErrors Compare(ModelOnDevice& on, const Golden& golden) {
  WorstErrors worst;
  CompareActivations(on, golden, worst);
  const OwnedBatch batch = golden.Batch();
  const float scale = 1.0f / static_cast<float>(batch.num_scored());
  std::vector<std::vector<float>> initial;
  for (const Parameter& parameter : on.model->parameters())
    initial.push_back(Values(*on.model, parameter));
  std::vector<PooledTensor> moments;
  for (int step = 0; step < 3; ++step) {
    const Differentiated result = Differentiate(*on.model, batch, scale);
    const double loss_error =
        std::abs(MeanLoss(result.nll, batch) - golden.Scalar(absl::StrCat("loss_step_", step)));
    if (step == 0) {
      worst.loss = loss_error;
      EXPECT_LE(loss_error, kLossBound);
      CompareGradients(on, golden, result, worst);
    } else {
      worst.step_loss = std::max(worst.step_loss, loss_error);
    }
    const double expected_norm = golden.Scalar(absl::StrCat("grad_norm_step_", step));
    const double norm = Update(on, result, step + 1, moments);
    worst.norm = std::max(worst.norm, std::abs(norm - expected_norm) / expected_norm);
  }
  std::vector<float> nll(batch.tokens.size());
  on.model->Evaluate(batch.view(), absl::MakeSpan(nll));
  worst.step_loss =
      std::max(worst.step_loss, std::abs(MeanLoss(nll, batch) - golden.Scalar("loss_step_3")));
  EXPECT_LE(worst.step_loss, kStepLossBound);
  EXPECT_LE(worst.norm, kNormBound);
  CompareParameters(on, golden, initial, worst);
  return worst;
}

// Over how many tensor-parallel ranks a model is spread.
struct Spread {
  int size = 1;
  bool sequence = true;
};

void CompareDirectory(const std::string& directory, const Spread& spread = {},
                      DeviceType device = DeviceType::kCpu) {
  SCOPED_TRACE(directory);
  auto source = WeightSource::Open(directory, "golden");
  ASSERT_THAT(source, IsOk());
  auto on = ModelOnDevice::Load(directory, device);
  ASSERT_THAT(on, IsOk());
  if (spread.size > 1) {
    on->model = std::make_unique<SpreadModel>(std::move(on->model), spread.size, spread.sequence);
  }
  const WorstErrors worst = Compare(*on, Golden(*std::move(source)));
  std::printf(
      "%s on %d%s: activations %.1e loss %.1e gradients %.1e; three steps: losses %.1e norms %.1e "
      "parameters %.1e (median %.1e)\n",
      directory.c_str(), spread.size,
      spread.size > 1 && !spread.sequence ? " (sequence whole)" : "", worst.activations, worst.loss,
      worst.gradients, worst.step_loss, worst.norm, worst.parameters, worst.median_parameter);
}

class GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  // From the repository if it is there, or else from the shared golden files; empty: nowhere.
  void SetUp() override {
    const std::string here = "tests/model/golden/" + GetParam();
    const std::string shared = SharedDirectory() + "/golden/models/" + GetParam();
    if (!FileExists(here) && !FileExists(shared)) {
      GTEST_SKIP() << "no golden files in " << shared << "; set LIQUID_SHARED";
    }
    directory_ = FileExists(here) ? here : shared;
  }
  std::string directory_;
};

TEST_P(GoldenTest, ModelAgreesWithTheFloat64Reference) { CompareDirectory(directory_); }

TEST_P(GoldenTest, SoDoesItOnCuda) {
  if (CountCudaDevices().value_or(0) == 0) GTEST_SKIP() << "no CUDA device, nor emulation";
  CompareDirectory(directory_, {}, DeviceType::kCuda);
}

TEST_P(GoldenTest, SoDoesItSpreadOverRanks) {
  const auto config = LoadModelConfig(directory_ + "/config.json");
  ASSERT_THAT(config, IsOk());
  int num_compared = 0;
  for (const int size : {2, 3, 4}) {
    if (config->num_heads % size != 0 || config->intermediate_size % size != 0 ||
        (config->num_kv_heads % size != 0 && size % config->num_kv_heads != 0)) {
      continue;  // refused, with the arithmetic
    }
    ++num_compared;
    for (const bool sequence : {true, false}) CompareDirectory(directory_, {size, sequence});
  }
  if (num_compared == 0) GTEST_SKIP() << directory_ << " cannot be spread over 2, 3 or 4 ranks";
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest,
                         ::testing::Values("llama", "llama_tied", "qwen2", "qwen3", "gpt2",
                                           "gemma3", "gemma4", "gemma4_e2b", "gemma4_31b", "lfm2",
                                           "lfm25"),
                         [](const auto& model) { return model.param; });

// A directory of model directories leaves out the families that are not supported; one that is
// named itself must be supported.
TEST(GoldenTest, DirectoriesOfTheEnvironmentAgreeToo) {
  const char* variable = std::getenv("LIQUID_GOLDEN_DIRS");
  if (variable == nullptr) GTEST_SKIP() << "LIQUID_GOLDEN_DIRS is not set";
  const std::vector<std::string> paths = absl::StrSplit(variable, ':', absl::SkipEmpty());
  for (const std::string& path : paths) {
    if (FileExists(path + "/config.json")) {
      CompareDirectory(path);
      continue;
    }
    auto names = ListDirectory(path);
    ASSERT_THAT(names, IsOk());
    for (const std::string& name : *names) {
      const std::string directory = path + "/" + name;
      const std::string config = directory + "/config.json";
      if (!FileExists(config)) continue;
      const absl::Status status = LoadModelConfig(config).status();
      if (absl::StrContains(status.message(), "model_type")) {
        std::printf("%s: left out: %s\n", directory.c_str(), std::string(status.message()).c_str());
        continue;
      }
      CompareDirectory(directory);
    }
  }
}

// A real pretrained model, against the losses of another implementation (llama2.c in float32).
TEST(GoldenTest, LossOfEveryTokenOfAPretrainedModelAgrees) {
  const std::string directory = SharedDirectory() + "/golden/stories260K";
  if (!FileExists(directory)) GTEST_SKIP() << "no " << directory << "; set LIQUID_SHARED";
  auto on = ModelOnDevice::Load(directory);
  ASSERT_THAT(on, IsOk());
  std::ifstream file(directory + "/nll_llama2c_fp32.jsonl");
  double worst = 0;
  int num_tokens = 0;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(entry.is_object());
    const OwnedBatch batch = testing::PackedRow({entry["ids"].get<std::vector<int32_t>>()});
    const auto expected = entry["nll_next"].get<std::vector<double>>();
    std::vector<float> nll(batch.tokens.size());
    on->model->Evaluate(batch.view(), absl::MakeSpan(nll));
    for (size_t i = 0; i < expected.size(); ++i, ++num_tokens) {
      worst = std::max(worst, std::abs(expected[i] - static_cast<double>(nll[i])));
    }
  }
  std::printf("%s: %d tokens, worst difference of nll %.1e\n", directory.c_str(), num_tokens,
              worst);
  EXPECT_GT(num_tokens, 50);
  EXPECT_LE(worst, 1e-4);
}

}  // namespace
}  // namespace liquid
