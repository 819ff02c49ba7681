#include "worker/planned_step.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/plan/plan_ops.h"
#include "model/key_value_cache.h"
#include "model/model.h"
#include "parallel/gang_mesh.h"
#include "parallel/gradient_sum.h"
#include "tensor/plan/plan_device.h"
#include "worker/full_slot.h"
#include "worker/job_setup.h"
#include "worker/train_state.h"

namespace liquid {
namespace {

// What CreateWorkbench makes, and the state. Each stands on those before it.
struct Bench {
  std::unique_ptr<PlanDevice> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Stream> beside;
  std::unique_ptr<CollectiveLog> log;
  std::unique_ptr<PlanCommunicator> gang;
  std::unique_ptr<GangMesh> mesh;
  std::unique_ptr<PlanOps> ops;
  std::unique_ptr<TensorPool> pool;
  std::unique_ptr<Model> model;
  std::unique_ptr<TrainState> state;
};

absl::Status CheckRanks(const Job& job, const PlannedRank& rank) {
  const int tensor_parallel = job.model().tensor_parallel();
  if (rank.num_ranks % tensor_parallel == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "model.tensor_parallel is ", tensor_parallel, ", but the gang has ", rank.num_ranks,
      " ranks, which is not a multiple of it: give it that many devices"));
}

absl::StatusOr<Bench> CreateBench(const Job& job, const ModelConfig& config,
                                  const PlannedRank& rank) {
  LIQUID_RETURN_IF_ERROR(CheckRanks(job, rank));
  LIQUID_RETURN_IF_ERROR(CheckRowsFit(job, config));
  Bench bench;
  LIQUID_ASSIGN_OR_RETURN(bench.device, PlanDevice::Create(rank.machine.device));
  LIQUID_ASSIGN_OR_RETURN(bench.stream, bench.device->CreateStream());
  if (rank.machine.device == DeviceType::kCuda) {
    LIQUID_ASSIGN_OR_RETURN(bench.beside, bench.device->CreateStream());
  }
  bench.log = std::make_unique<CollectiveLog>();
  bench.gang = std::make_unique<PlanCommunicator>(rank.rank, rank.num_ranks, 1, nullptr);
  const auto create_group = [log = bench.log.get()](int r, int size, int stride) {
    return std::make_unique<PlanCommunicator>(r, size, stride, log);
  };
  bench.mesh = std::make_unique<GangMesh>(GangMesh::CreateAlone(
      *bench.gang, job.model().tensor_parallel(), create_group, bench.beside.get()));
  bench.ops = std::make_unique<PlanOps>(*bench.stream, rank.machine);
  bench.pool = std::make_unique<TensorPool>(*bench.device);
  LIQUID_ASSIGN_OR_RETURN(bench.model, CreateModel(config, *bench.ops, *bench.stream, *bench.pool,
                                                   {.group = &bench.mesh->tensor(),
                                                    .sequence = job.model().sequence_parallel(),
                                                    .num_replicas = bench.mesh->num_replicas()},
                                                   PrecisionOf(job), TuningOf(job)));
  bench.state = std::make_unique<TrainState>(*bench.model, *bench.mesh, *bench.ops, *bench.pool);
  return bench;
}

// The order of worker/train_step.cc.
class StepOnPlan {
 public:
  StepOnPlan(const Job& job, const PlannedRank& rank, Bench& bench)
      : job_(job),
        bench_(bench),
        keeps_(rank.has_others),
        slot_(job.training().rows_per_slot(), job.data().sequence_length()),
        nll_(slot_.tokens.size()),
        sum_(SumOptionsOf(job, *bench.model), bench.model->layout(), *bench.mesh, *bench.ops,
             *bench.stream, *bench.pool),
        norm_chunks_(
            bench.pool->Allocate(DType::kF64, {bench.model->layout().total() / kNormChunk})) {}

  void ComputeSlot(bool is_last) {
    const GradientSink sink = [&](int index, ConstTensorView gradient) {
      sum_.Fold(index, gradient);
      if (is_last) sum_.Close(index);
    };
    const bool is_plain =
        bench_.mesh->tensor_size() == 1 && sum_.only_enqueues() && !(is_last && sum_.overlaps());
    sum_.Reopen();
    bench_.model->ForwardBackward(slot_.batch(), 1.0f, RecomputeOf(job_), sink,
                                  absl::MakeSpan(nll_),
                                  is_plain ? Repetition::kOfShape : Repetition::kNone);
  }

  // The replica has no slot while others have one.
  void SitOut(bool is_last) {
    sum_.Reopen();
    for (const int index : bench_.model->gradient_order()) {
      sum_.FoldNothing(index);
      if (is_last) sum_.Close(index);
    }
  }

  absl::Status Update() {
    sum_.CombineInGang(keeps_);
    const FlatLayout& layout = bench_.model->layout();
    Ops& ops = *bench_.ops;
    const TensorView chunks = norm_chunks_.view();
    ops.Fill(TensorView(chunks.data, DType::kF32, {2 * chunks.NumElements()}), 0.0f);
    const int64_t of_slice = layout.slice_size() / kNormChunk;
    const int replica = bench_.mesh->replica();
    ops.SumOfSquares(Elements(chunks, replica * of_slice, (replica + 1) * of_slice), sum_.slice());
    bench_.mesh->replicas().AllReduceSum(chunks);
    AdamWOptions options;
    options.learning_rate = 1;
    const TrainState& state = *bench_.state;
    ops.AdamW(state.own_weights(), state.exp_avg.view(), state.exp_avg_sq.view(), sum_.slice(),
              options);
    sum_.ClearAfterUpdate();
    return GatherWeights(*bench_.state);
  }

 private:
  const Job& job_;
  Bench& bench_;
  const bool keeps_;
  const FullSlot slot_;
  std::vector<float> nll_;
  GradientSum sum_;
  const PooledTensor norm_chunks_;
};

// What the step adds to the calls of a slot.
CollectiveCounts Without(CollectiveCounts all, const CollectiveCounts& of_slot) {
  for (const auto& [call, count] : of_slot) {
    if ((all[call] -= count) <= 0) all.erase(call);
  }
  return all;
}

// Slots of a replica are alike but for those of the last round, beside whose backward reductions
// begin: one of each is run.
absl::Status RunStep(int64_t num_slots, StepOnPlan& step, Bench& bench, PlannedStep* planned) {
  const int64_t replicas = bench.mesh->num_replicas();
  const auto has_slot = [&](int64_t round) {
    return round * replicas + bench.mesh->replica() < num_slots;
  };
  const int64_t last = planned->num_rounds - 1;
  if (last > 0) {
    step.ComputeSlot(/*is_last=*/false);
    planned->slot_calls = bench.log->Take();
    planned->slot = bench.ops->TakeCounts();
  }
  if (has_slot(last)) {
    step.ComputeSlot(/*is_last=*/true);
    planned->slot = bench.ops->TakeCounts();
  } else {
    step.SitOut(/*is_last=*/true);
  }
  if (last == 0) planned->slot_calls = bench.log->Take();
  LIQUID_RETURN_IF_ERROR(step.Update());
  planned->update = bench.ops->TakeCounts();
  planned->step_calls = bench.log->Take();
  if (last > 0) {
    planned->step_calls = Without(std::move(planned->step_calls), planned->slot_calls);
  }
  return absl::OkStatus();
}

// The evaluation that the job asks for, and of its answers the longest there can be.
void Evaluate(const Job& job, const FullSlot& slot, const GangMesh& mesh, Model& model) {
  if (job.data().eval().empty()) return;
  std::vector<float> nll(slot.tokens.size());
  std::vector<uint8_t> correct(nll.size());
  model.Evaluate(slot.batch(), absl::MakeSpan(nll), absl::MakeSpan(correct));
  const int64_t context = model.config().max_position_embeddings;
  const int64_t longest = std::min<int64_t>(job.data().sequence_length() - 1, context - 1);
  if (job.training().eval_samples() == 0 || mesh.replica() != 0 || longest < 1) return;
  const int64_t most = std::min(job.training().eval_sample_tokens(), context - longest);
  const auto cache = model.CreateCache(longest + most);  // as Continue (model/continuation.h)
  const absl::Span<const int32_t> tokens = slot.tokens;
  model.Extend(*cache, tokens.first(static_cast<size_t>(longest)));
  if (most == 1) return;
  model.Extend(*cache, tokens.first(1));  // the first token that follows, and the last
  cache->Advance(std::max<int64_t>(0, most - 3));
  if (most > 2) model.Extend(*cache, tokens.first(1));
}

// What CUDA itself takes of a GPU: assumed, not accounted for. The context and the kernels' code;
// and for each group of ranks NCCL's buffers (docs/plan.md).
constexpr int64_t kCudaContextBytes = int64_t{700} << 20;
constexpr int64_t kNcclGroupBytes = int64_t{256} << 20;

int64_t NumGroups(const Bench& bench) {
  const int64_t of_tensor = bench.mesh->tensor_size() > 1 ? 1 : 0;
  const int64_t of_replicas = bench.mesh->num_replicas() > 1 ? 2 : 0;  // one beside the backward
  return of_tensor + of_replicas;
}

// Of the weights that checkpoints have: of a model with adapters, the adapters; or only of those
// that train.
int64_t SavedBytes(const Model& model, bool only_trained) {
  int64_t bytes = 0;
  for (const Parameter& parameter : model.parameters()) {
    const bool counts = parameter.is_saved && (parameter.trains || !only_trained);
    if (counts) bytes += parameter.value.NumBytes();
  }
  return bytes;
}

void CompleteMemory(const Job& job, const PlannedRank& rank, const Bench& bench,
                    PlannedStep* planned) {
  const MemoryPlan state =
      PlanState(*bench.model, SumOptionsOf(job, *bench.model), rank.has_others);
  MemoryPlan& memory = planned->memory;
  memory.weights = state.weights;
  memory.gradient_sums = state.gradient_sums;
  memory.optimizer = state.optimizer;
  planned->state_bytes = bench.pool->allocated_bytes();
  planned->activation_bytes = bench.model->activations().allocated_bytes();
  memory.tables = planned->state_bytes - state.weights - state.gradient_sums - state.optimizer;
  memory.activations = planned->activation_bytes;
  memory.workspace = bench.ops->WorkspaceBytes();
  memory.mirror = bench.state->on_host.num_bytes();
  const int64_t replicas = bench.mesh->num_replicas();
  planned->fingerprint_bytes = SavedBytes(*bench.model, /*only_trained=*/true) / replicas;
  memory.snapshot = SavedBytes(*bench.model, /*only_trained=*/false) / replicas + state.optimizer;
  if (rank.machine.device == DeviceType::kCuda) {
    memory.runtime = kCudaContextBytes;
    memory.communication = NumGroups(bench) * kNcclGroupBytes;
  }
}

}  // namespace

absl::StatusOr<PlannedStep> PlanStep(const Job& job, const ModelConfig& config,
                                     const PlannedRank& rank) {
  LIQUID_ASSIGN_OR_RETURN(Bench bench, CreateBench(job, config, rank));
  PlannedStep planned;
  planned.num_parameters = NumParameters(*bench.model);
  for (const Parameter& parameter : bench.model->parameters()) {
    planned.num_all_parameters += parameter.shape.NumElements();
  }
  const int64_t replicas = bench.mesh->num_replicas();
  planned.num_rounds = (job.training().slots_per_step() + replicas - 1) / replicas;
  // The probe comes first, before there are sums (worker/probe.cc).
  const FullSlot probe(job.training().rows_per_slot(), job.data().sequence_length());
  std::vector<float> nll(probe.tokens.size());
  const GradientSink ignore = [](int, ConstTensorView) {};
  bench.model->ForwardBackward(probe.batch(), 1.0f, RecomputeOf(job), ignore, absl::MakeSpan(nll));
  bench.ops->TakeCounts();
  bench.log->Take();
  planned.model_flops = TrainingFlops(*bench.model, probe.batch());
  planned.slot_tokens = static_cast<int64_t>(nll.size());
  {
    StepOnPlan step(job, rank, bench);
    bench.ops->TakeCounts();
    LIQUID_RETURN_IF_ERROR(RunStep(job.training().slots_per_step(), step, bench, &planned));
    Evaluate(job, probe, *bench.mesh, *bench.model);
    CompleteMemory(job, rank, bench, &planned);
  }
  return planned;
}

}  // namespace liquid
