#include "model/model.h"

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/weights.h"
#include "tests/model/model_on_device.h"
#include "tests/model/tiny_config.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::ModelOnDevice;
using ::liquid::testing::StatusIs;
using ::liquid::testing::TinyConfig;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Tensor {
  Shape shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Tensor>;

// The weights of `model`.
Tensors TensorsOf(const Model& model) {
  Tensors tensors;
  for (const Parameter& parameter : model.parameters()) {
    const float* data = parameter.value.f32();
    tensors[parameter.name] = {parameter.shape, {data, data + parameter.shape.NumElements()}};
  }
  return tensors;
}

// Writes `tensors` as one safetensors file into a directory of its own; its path.
std::string WriteDirectory(const std::string& name, const Tensors& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [tensor_name, tensor] : tensors) {
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.values.data()), 4 * tensor.values.size());
    absl::StrAppend(&header, begin == 0 ? "" : ",", "\"", tensor_name,
                    "\":{\"dtype\":\"F32\",\"shape\":", tensor.shape.ToString(),
                    ",\"data_offsets\":[", begin, ",", data.size(), "]}");
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  const std::string directory = ::testing::TempDir() + "/model_test_" + name;
  EXPECT_THAT(MakeDirectories(directory), IsOk());
  const std::string size(reinterpret_cast<const char*>(&length), 8);
  EXPECT_THAT(WriteFileAtomically(directory + "/model.safetensors", size + header + data), IsOk());
  return directory;
}

ModelOnDevice Initialized(const ModelConfig& config, uint64_t seed) {
  ModelOnDevice cpu = ModelOnDevice::Create(config).value();
  InitializeWeights(seed, *cpu.model);
  return cpu;
}

void ExpectSameWeights(const Model& a, const Model& b) {
  const Tensors first = TensorsOf(a);
  for (const auto& [name, tensor] : TensorsOf(b)) {
    EXPECT_EQ(first.at(name).values, tensor.values) << name;
  }
}

TEST(LoadWeightsTest, ReadsWhatWasWritten) {
  for (const Family family : {Family::kLlama, Family::kQwen2, Family::kQwen3, Family::kGpt2,
                              Family::kGemma3, Family::kGemma4, Family::kLfm2}) {
    const ModelOnDevice written = Initialized(TinyConfig(family), 1);
    ModelOnDevice read = Initialized(TinyConfig(family), 2);
    std::vector<std::string> ignored;
    const std::string directory = WriteDirectory("same", TensorsOf(*written.model));
    ASSERT_THAT(LoadWeights(directory, *read.model, &ignored), IsOk());
    EXPECT_THAT(ignored, ElementsAre());
    ExpectSameWeights(*written.model, *read.model);
  }
}

TEST(LoadWeightsTest, Gpt2NamesMayLackTheirPrefix) {
  const ModelOnDevice written = Initialized(TinyConfig(Family::kGpt2), 1);
  Tensors bare;
  for (const auto& [name, tensor] : TensorsOf(*written.model)) {
    bare[name.substr(std::strlen("transformer."))] = tensor;
  }
  bare["h.0.attn.bias"] = {{1, 1, 2, 2}, {1, 0, 1, 1}};
  bare["h.0.attn.masked_bias"] = {{1}, {-1e4f}};
  bare["lm_head.weight"] = bare["wte.weight"];
  ModelOnDevice read = Initialized(TinyConfig(Family::kGpt2), 2);
  std::vector<std::string> ignored;
  ASSERT_THAT(LoadWeights(WriteDirectory("bare", bare), *read.model, &ignored), IsOk());
  EXPECT_THAT(ignored, ElementsAre());
  ExpectSameWeights(*written.model, *read.model);
}

TEST(LoadWeightsTest, TensorsOfNoMeaningAreListed) {
  ModelOnDevice cpu = Initialized(TinyConfig(Family::kQwen3), 1);
  Tensors tensors = TensorsOf(*cpu.model);
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];  // tied: known and unused
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{1}, {1}};
  tensors["model.vision.weight"] = {{2}, {1, 2}};
  std::vector<std::string> ignored;
  ASSERT_THAT(LoadWeights(WriteDirectory("more", tensors), *cpu.model, &ignored), IsOk());
  EXPECT_THAT(ignored, ElementsAre("model.vision.weight"));
}

TEST(LoadWeightsTest, AMissingTensorIsNotFoundByName) {
  ModelOnDevice cpu = Initialized(TinyConfig(Family::kLlama), 1);
  Tensors tensors = TensorsOf(*cpu.model);
  tensors.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_THAT(
      LoadWeights(WriteDirectory("less", tensors), *cpu.model, nullptr),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("model.layers.1.mlp.up_proj.weight")));
}

TEST(LoadWeightsTest, AnotherShapeIsRefusedWithBoth) {
  ModelOnDevice cpu = Initialized(TinyConfig(Family::kLlama), 1);
  Tensors tensors = TensorsOf(*cpu.model);
  tensors["model.layers.0.mlp.up_proj.weight"].shape = {24, 40};
  EXPECT_THAT(LoadWeights(WriteDirectory("shape", tensors), *cpu.model, nullptr),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("model.layers.0.mlp.up_proj.weight"), HasSubstr("[24,40]"),
                             HasSubstr("[40,24]"))));
}

TEST(InitializeWeightsTest, AreAFunctionOfSeedNameAndPlace) {
  const ModelOnDevice a = Initialized(TinyConfig(Family::kLlama), 1);
  const ModelOnDevice b = Initialized(TinyConfig(Family::kLlama), 1);
  const ModelOnDevice c = Initialized(TinyConfig(Family::kLlama), 2);
  ExpectSameWeights(*a.model, *b.model);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  EXPECT_NE(TensorsOf(*a.model)[name].values, TensorsOf(*c.model)[name].values);
  EXPECT_NE(TensorsOf(*a.model)[name].values,
            TensorsOf(*a.model)["model.layers.0.mlp.gate_proj.weight"].values);
  ModelConfig wider = TinyConfig(Family::kLlama);
  wider.vocab_size = 50;  // another shape elsewhere changes nothing here
  EXPECT_EQ(TensorsOf(*a.model)[name].values, TensorsOf(*Initialized(wider, 1).model)[name].values);
}

TEST(InitializeWeightsTest, MatricesAreNormalNormsOneBiasesZero) {
  ModelOnDevice cpu = Initialized(TinyConfig(Family::kGpt2), 3);
  for (const auto& [name, tensor] : TensorsOf(*cpu.model)) {
    double square = 0;
    for (const float value : tensor.values) square += std::pow(value, 2.0);
    square /= static_cast<double>(tensor.values.size());
    if (tensor.shape.rank() == 2) {
      EXPECT_NEAR(std::sqrt(square), 0.2, 0.02) << name;
    } else {
      EXPECT_EQ(square, name.ends_with(".bias") ? 0.0 : 1.0) << name;
    }
  }
}

TEST(ParametersTest, DecayIsForMatricesAlone) {
  const ModelOnDevice cpu = Initialized(TinyConfig(Family::kQwen2), 1);
  for (const Parameter& parameter : cpu.model->parameters()) {
    EXPECT_EQ(parameter.decays, parameter.shape.rank() == 2) << parameter.name;
  }
}

TEST(TrainingFlopsTest, CountsProductsAndVisiblePairs) {
  ModelConfig config = TinyConfig(Family::kQwen2);
  config.windows = {0, 0, 2};
  const ModelOnDevice cpu = Initialized(config, 1);
  const testing::OwnedBatch batch = testing::PackedRow({{1, 2, 3, 4}, {5, 6}});
  // Per layer: q and o [24,24], k and v [12,24], gate, up, down [40,24]; the head [37,24], tied.
  const double weights = 3 * (2 * 24 * 24 + 2 * 12 * 24 + 3 * 40 * 24) + 37 * 24;
  const double pairs = 2 * (10 + 3) + (7 + 3);  // two full layers, one with a window of 2
  EXPECT_EQ(TrainingFlops(*cpu.model, batch.view()), 6 * weights * 6 + 12 * pairs * 4 * 6);
}

}  // namespace
}  // namespace liquid
