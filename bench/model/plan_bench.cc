// Predicted against actual time of a step on this CPU, for three sizes of models: forward and
// backward of a slot, exact sums, norm, AdamW. Prediction and measurement take turns, since a
// machine with other work changes its speed; of either the shortest of three counts.
// OMP_NUM_THREADS sets the number of threads of both: 1 where others work too.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/model/model_trainer.h"
#include "bench/model/timed_ops.h"
#include "kernels/cpu/team.h"
#include "kernels/plan/op_timing.h"
#include "worker/machine_model.h"
#include "worker/planned_step.h"

namespace liquid {
namespace {

struct Size {
  const char* name;
  ModelConfig config;
  int64_t rows;
  int64_t length;
};

ModelConfig Config(int64_t width, int64_t num_layers, int64_t vocab_size) {
  ModelConfig config = bench::SmolLm2Config();
  config.hidden_size = width;
  config.intermediate_size = 8 * width / 3 / 64 * 64;
  config.num_layers = num_layers;
  config.num_heads = width / 64;
  config.num_kv_heads = config.num_heads;
  config.vocab_size = vocab_size;
  config.windows.assign(static_cast<size_t>(num_layers), 0);
  return config;
}

Job JobOf(const Size& size, const char* precision) {
  Job job;
  job.mutable_model()->set_tensor_parallel(1);
  job.mutable_model()->set_recompute("none");
  job.mutable_data()->set_sequence_length(static_cast<int32_t>(size.length));
  job.mutable_training()->set_slots_per_step(1);
  job.mutable_training()->set_rows_per_slot(static_cast<int32_t>(size.rows));
  job.mutable_training()->set_precision(precision);
  job.mutable_training()->set_gradient_sum("exact");
  job.mutable_training()->set_shard("optimizer");
  return job;
}

double PredictedSeconds(const PlannedStep& step, OpTimer::Clock clock) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const std::unique_ptr<Stream> stream = device->CreateStream().value();
  const std::unique_ptr<Ops> ops = CreateOps(*stream);
  OpTimer timer(*ops, *stream, OpTimer::Limits(), clock);
  Cluster cluster;
  cluster.machine.measured = [&timer](const OpCall& call) { return timer.Seconds(call); };
  const StepTime time = TimeOf(cluster, step);
  return time.compute + time.update;  // the benchmark's step has no fingerprint
}

// By the clock, or by processor time, which other work on the machine disturbs less.
void Compare(const Size& size, const char* precision, const char* by, OpTimer::Clock clock) {
  const auto planned = PlanStep(JobOf(size, precision), size.config, {.machine = RulesOfThisCpu()});
  LIQUID_CHECK(planned.ok(), planned.status().ToString());
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const std::unique_ptr<Stream> stream = device->CreateStream().value();
  const std::unique_ptr<Ops> ops = CreateOps(*stream);
  const DType dtype = std::string(precision) == "bf16" ? DType::kBF16 : DType::kF32;
  bench::ModelTrainer trainer(*stream, *ops, size.config, dtype, {1, size.rows, size.length});
  trainer.Step(Recompute::kNone);  // allocates
  double predicted = std::numeric_limits<double>::infinity();
  double actual = predicted;
  for (int i = 0; i < 3; ++i) {
    predicted = std::min(predicted, PredictedSeconds(*planned, clock));
    const double start = clock();
    trainer.Step(Recompute::kNone);
    actual = std::min(actual, clock() - start);
  }
  std::printf(
      "%-8s %-5s %6.1f M %5.0f tokens  by %-9s  predicted %8.4f s  actual %8.4f s  ratio "
      "%.3f\n",
      size.name, precision, static_cast<double>(planned->num_parameters) / 1e6,
      static_cast<double>(size.rows * size.length), by, predicted, actual, predicted / actual);
  std::fflush(stdout);
}

int Main() {
  std::printf("%d threads\n", SizeTeam(/*ranks_on_machine=*/1));
  const std::vector<Size> sizes = {{"small", Config(256, 4, 4096), 2, 256},
                                   {"medium", Config(512, 8, 16384), 2, 512},
                                   {"SmolLM2", bench::SmolLm2Config(), 4, 512}};
  for (const Size& size : sizes) {
    for (const char* precision : {"fp32", "bf16"}) {
      Compare(size, precision, "clock", OpTimer::WallSeconds);
      Compare(size, precision, "processor", bench::ProcessorSeconds);
    }
  }
  return 0;
}

}  // namespace
}  // namespace liquid

int main() { return liquid::Main(); }
