// The calls of cuBLASLt: matrices of float and bfloat16, summed in float, no epilogues. Refuses
// with a word of why what NVIDIA documents as wrong.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/emulated_cuda/cublaslt_problem.h"
#include "tests/emulated_cuda/device_memory.h"
#include "tests/emulated_cuda/streams.h"

namespace liquid::emulated {
namespace {

// What is within a cublasLtMatmulAlgo_t.
struct Algorithm {
  uint64_t fingerprint;
  uint64_t workspace_bytes;
  uint32_t alignment[4];
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

// What an algorithm wants if it may.
constexpr uint64_t kWorkspaceBytes = 64 << 10;

MatrixLayout* FromHandle(cublasLtMatrixLayout_t handle) {
  return reinterpret_cast<MatrixLayout*>(handle);
}
MatmulDescription* FromHandle(cublasLtMatmulDesc_t handle) {
  return reinterpret_cast<MatmulDescription*>(handle);
}
Preference* FromHandle(cublasLtMatmulPreference_t handle) {
  return reinterpret_cast<Preference*>(handle);
}

template <typename T>
cublasStatus_t Set(T* field, const void* value, size_t bytes) {
  if (bytes != sizeof *field) return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(field, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t Refuse(const char* why) {
  fprintf(stderr, "emulated CUDA: cublasLtMatmul refused: %s\n", why);
  return CUBLAS_STATUS_INVALID_VALUE;
}

Problem MakeProblem(cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
  return {*FromHandle(description), *FromHandle(a), *FromHandle(b), *FromHandle(c), *FromHandle(d)};
}

Algorithm Choose(const Problem& problem, const Preference& preference) {
  Algorithm algorithm{};
  algorithm.fingerprint = problem.Fingerprint();
  algorithm.workspace_bytes = std::min(preference.max_workspace_bytes, kWorkspaceBytes);
  std::copy_n(preference.alignment, 4, algorithm.alignment);
  return algorithm;
}

const char* WhatIsWrong(const Problem& problem, const Operands& operands,
                        const Algorithm& algorithm, const void* workspace, size_t workspace_bytes) {
  if (algorithm.fingerprint != problem.Fingerprint()) {
    return "the algorithm was chosen for another problem";
  }
  const RuntimeGuard guard(RuntimeLock());
  const struct {
    const void* base;
    const MatrixLayout& layout;
    uint32_t alignment;
  } matrices[] = {{operands.a, problem.a, algorithm.alignment[0]},
                  {operands.b, problem.b, algorithm.alignment[1]},
                  {operands.c, problem.c, algorithm.alignment[2]},
                  {operands.d, problem.d, algorithm.alignment[3]}};
  for (const auto& [base, layout, alignment] : matrices) {
    if (base == operands.c && operands.beta == 0) continue;
    if (!IsDeviceRange(base, layout.NumBytes())) {
      return "a matrix is not within one device allocation";
    }
    if (reinterpret_cast<uintptr_t>(base) % alignment != 0) {
      return "a matrix is less aligned than the algorithm was chosen for";
    }
  }
  if (workspace_bytes < algorithm.workspace_bytes) return "the workspace is too small";
  if (!IsDeviceRange(workspace, workspace_bytes)) {
    return "the workspace is not within one device allocation";
  }
  return nullptr;
}

}  // namespace
}  // namespace liquid::emulated

using namespace liquid::emulated;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
      return "<unknown>";
  }
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* handle, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t leading) {
  if (BytesOf(type) == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  *handle =
      reinterpret_cast<cublasLtMatrixLayout_t>(new MatrixLayout{type, rows, columns, leading});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle) {
  delete FromHandle(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t handle,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  MatrixLayout* layout = FromHandle(handle);
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return Set(&layout->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return Set(&layout->batch_count, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return Set(&layout->batch_stride, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return Set(&layout->leading, value, bytes);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* handle, cublasComputeType_t compute,
                                        cudaDataType scale) {
  if (scale != CUDA_R_32F ||
      (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  *handle = reinterpret_cast<cublasLtMatmulDesc_t>(new MatmulDescription{compute});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle) {
  delete FromHandle(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  MatmulDescription* description = FromHandle(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return Set(&description->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return Set(&description->transpose_b, value, bytes);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* handle) {
  *handle = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle) {
  delete FromHandle(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  Preference* preference = FromHandle(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Set(&preference->max_workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return Set(&preference->alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return Set(&preference->alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return Set(&preference->alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return Set(&preference->alignment[3], value, bytes);
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return CUBLAS_STATUS_SUCCESS;
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t*,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* value, size_t bytes, size_t* written) {
  if (value == nullptr || bytes != sizeof(uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
  const uint32_t one = attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? 1 : 0;  // there is one way
  memcpy(value, &one, sizeof(one));
  if (written != nullptr) *written = sizeof(one);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int num_wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* num_found) {
  *num_found = 0;
  if (num_wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem = MakeProblem(description, a, b, c, d);
  if (const char* why = problem.WhatIsWrong()) return Refuse(why);
  const Algorithm algorithm = Choose(problem, *FromHandle(preference));
  memset(results, 0, sizeof *results);
  memcpy(&results->algo, &algorithm, sizeof algorithm);
  results->state = CUBLAS_STATUS_SUCCESS;
  results->workspaceSize = algorithm.workspace_bytes;
  results->wavesCount = 1.0f;
  *num_found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t layout_a, const void* b,
                              cublasLtMatrixLayout_t layout_b, const void* beta, const void* c,
                              cublasLtMatrixLayout_t layout_c, void* d,
                              cublasLtMatrixLayout_t layout_d, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  const Problem problem = MakeProblem(description, layout_a, layout_b, layout_c, layout_d);
  if (const char* why = problem.WhatIsWrong()) return Refuse(why);
  const Operands operands{
      a, b, c, d, *static_cast<const float*>(alpha), *static_cast<const float*>(beta)};
  Algorithm algorithm = Choose(problem, Preference{});
  if (algo != nullptr) memcpy(&algorithm, algo, sizeof algorithm);
  if (const char* why = WhatIsWrong(problem, operands, algorithm, workspace, workspace_bytes)) {
    return Refuse(why);
  }
  const uint64_t used = algorithm.workspace_bytes;
  const cudaError_t code = Enqueue(stream, "cublasLtMatmul", [=] {
    if (used > 0) memset(workspace, 0xff, used);  // whoever shares it will notice
    Multiply(problem, operands);
    return true;
  });
  return code == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
