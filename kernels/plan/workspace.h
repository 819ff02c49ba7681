// The memory of their own that the Ops of a CPU and of a GPU take for an operation.
#ifndef LIQUID_KERNELS_PLAN_WORKSPACE_H_
#define LIQUID_KERNELS_PLAN_WORKSPACE_H_

#include <cstdint>

#include "kernels/ops.h"
#include "kernels/plan/op_call.h"
#include "tensor/pool.h"

namespace liquid {

// Whose, and what beside shapes it depends on there.
struct WorkspaceRules {
  DeviceType device = DeviceType::kCpu;
  int threads = 1;                // CPU: of the team
  bool has_bf16_products = true;  // CPU: otherwise operands are converted first
};
// Of this machine's CPU and the calling thread's team.
WorkspaceRules RulesOfThisCpu();

// Takes from `scratch` what `call` takes, in the order in which it does, and gives it back. A loss
// with a `part` gathers by it, chunk by chunk as all targets count.
void TakeWorkspace(const WorkspaceRules& rules, const OpCall& call, const VocabularyPart* part,
                   TensorPool& scratch);
// What is there from the start.
int64_t FixedWorkspaceBytes(const WorkspaceRules& rules);

}  // namespace liquid

#endif  // LIQUID_KERNELS_PLAN_WORKSPACE_H_
