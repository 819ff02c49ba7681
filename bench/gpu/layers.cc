// Whole training steps on a GPU: tokens/s, and MFU against the largest product of the same run.
// Four layers of Llama-3-8B with its vocabulary, which fit where 32 would not, and SmolLM2-135M.
// Prints one table. `loss` is that of the first step: ln of the vocabulary, or something is wrong.
//
// Then where the time of one step of each model goes, by operation, each waited for by itself.
//
//   bench.gpu.layers [--quick]
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bench/gpu/gpu_bench.h"
#include "bench/model/model_trainer.h"
#include "bench/model/timed_ops.h"

namespace liquid::bench {
namespace {

constexpr int kSteps = 5;

struct Configuration {
  std::string name;
  ModelConfig config;
  StepShape shape;
  Recompute recompute;
};

ModelConfig Llama3Layers() {
  ModelConfig config;
  config.family = Family::kLlama;
  config.vocab_size = 128256;
  config.hidden_size = 4096;
  config.intermediate_size = 14336;
  config.num_layers = 4;
  config.num_heads = 32;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.max_position_embeddings = 8192;
  config.norm_epsilon = 1e-5f;
  config.windows.assign(config.num_layers, 0);
  config.rope.theta = 500000;
  return config;
}

ModelConfig TinyConfig() {
  ModelConfig config = Llama3Layers();
  config.vocab_size = 512;
  config.hidden_size = 128;
  config.intermediate_size = 256;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.windows.assign(config.num_layers, 0);
  return config;
}

std::vector<Configuration> Configurations(bool quick) {
  constexpr Recompute kNone = Recompute::kNone;
  constexpr Recompute kBlock = Recompute::kBlock;
  if (quick) {
    const ModelConfig tiny = TinyConfig();
    return {{"tiny", tiny, {1, 1, 64}, kNone}, {"tiny", tiny, {2, 1, 64}, kBlock}};
  }
  const ModelConfig llama = Llama3Layers();
  const ModelConfig small = SmolLm2Config();
  return {{"Llama-3-8B, 4 layers", llama, {1, 1, 8192}, kNone},
          {"Llama-3-8B, 4 layers", llama, {2, 1, 8192}, kNone},
          {"Llama-3-8B, 4 layers", llama, {1, 1, 8192}, kBlock},
          {"Llama-3-8B, 4 layers", llama, {2, 1, 8192}, kBlock},
          {"SmolLM2-135M", small, {1, 4, 512}, kNone},
          {"SmolLM2-135M", small, {1, 8, 2048}, kNone}};
}

void Measure(GpuBench& gpu, const Configuration& configuration, double peak_flops) {
  const std::unique_ptr<Ops> ops = CreateOps(gpu.stream());  // its workspace is that of this alone
  const StepShape& shape = configuration.shape;
  ModelTrainer trainer(gpu.stream(), *ops, configuration.config, DType::kBF16, shape);
  const double loss = trainer.Step(configuration.recompute);  // takes memory, chooses algorithms
  std::vector<double> seconds;
  for (int i = 0; i < (gpu.quick() ? 1 : kSteps); ++i) {
    const double start = WallSeconds();
    trainer.Step(configuration.recompute);
    seconds.push_back(WallSeconds() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const std::string slots = std::to_string(shape.num_slots) + " x " + std::to_string(shape.rows) +
                            " x " + std::to_string(shape.sequence_length);
  std::printf("%-22s %-13s %-9s %9.2f %10.0f %6.1f%% %8.2f %8.2f %7.3f\n",
              configuration.name.c_str(), slots.c_str(),
              configuration.recompute == Recompute::kBlock ? "block" : "none", 1e3 * median,
              static_cast<double>(shape.NumTokens()) / median,
              100 * trainer.StepFlops() / median / peak_flops,
              static_cast<double>(trainer.allocated_bytes()) / 1e9,
              static_cast<double>(ops->WorkspaceBytes()) / 1e9, loss);
  std::fflush(stdout);
}

void PrintOperations(GpuBench& gpu, const Configuration& configuration) {
  TimedOps ops(CreateOps(gpu.stream()), gpu.stream());
  ModelTrainer trainer(gpu.stream(), ops, configuration.config, DType::kBF16, configuration.shape);
  trainer.Step(configuration.recompute, Repetition::kNone);
  ops.Reset();
  trainer.Step(configuration.recompute, Repetition::kNone);
  std::printf("%s, %lld x %lld tokens, operation by operation:\n", configuration.name.c_str(),
              static_cast<long long>(configuration.shape.rows),
              static_cast<long long>(configuration.shape.sequence_length));
  ops.Print(1);
}

int Main(int argc, char** argv) {
  const std::unique_ptr<GpuBench> gpu = CreateGpuBench(argc, argv);
  if (gpu == nullptr) return 1;
  const Ceilings peak = gpu->MeasurePeakFlops();
  std::printf("MFU 100%%: %.4g TFLOP/s, a bf16 product of %lld^3\n", peak.flops_per_second / 1e12,
              static_cast<long long>(peak.side));
  std::printf("%-22s %-13s %-9s %9s %10s %7s %8s %8s %7s\n", "model", "slots B T", "recompute",
              "ms/step", "tokens/s", "MFU", "pool GB", "work GB", "loss");
  for (const Configuration& configuration : Configurations(gpu->quick())) {
    Measure(*gpu, configuration, peak.flops_per_second);
  }
  for (const Configuration& configuration : Configurations(gpu->quick())) {
    if (configuration.recompute == Recompute::kNone && configuration.shape.num_slots == 1) {
      PrintOperations(*gpu, configuration);
    }
  }
  return 0;
}

}  // namespace
}  // namespace liquid::bench

int main(int argc, char** argv) { return liquid::bench::Main(argc, argv); }
