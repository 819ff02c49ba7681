// cuBLASLt, loaded when the first product is made: it has half a gigabyte, and a program that was
// linked with it would take a second to start where there is no GPU.
#ifndef LIQUID_KERNELS_CUDA_CUBLASLT_H_
#define LIQUID_KERNELS_CUDA_CUBLASLT_H_

#include <cublasLt.h>

#include "absl/status/statusor.h"

namespace liquid {

// The functions of the library that we call, by their names there.
struct CublasLt {
  decltype(&::cublasLtCreate) Create;
  decltype(&::cublasLtDestroy) Destroy;
  decltype(&::cublasLtGetVersion) GetVersion;
  decltype(&::cublasLtGetStatusString) GetStatusString;
  decltype(&::cublasLtMatmul) Matmul;
  decltype(&::cublasLtMatmulAlgoConfigGetAttribute) MatmulAlgoConfigGetAttribute;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) MatmulAlgoGetHeuristic;
  decltype(&::cublasLtMatmulDescCreate) MatmulDescCreate;
  decltype(&::cublasLtMatmulDescDestroy) MatmulDescDestroy;
  decltype(&::cublasLtMatmulDescSetAttribute) MatmulDescSetAttribute;
  decltype(&::cublasLtMatrixLayoutCreate) MatrixLayoutCreate;
  decltype(&::cublasLtMatrixLayoutDestroy) MatrixLayoutDestroy;
  decltype(&::cublasLtMatmulPreferenceCreate) MatmulPreferenceCreate;
  decltype(&::cublasLtMatmulPreferenceDestroy) MatmulPreferenceDestroy;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) MatmulPreferenceSetAttribute;
};

// Loaded once. Unavailable, with the loader's reason, if it is not there or lacks a function.
// Thread-safe.
const absl::StatusOr<CublasLt>& LoadCublasLt();

}  // namespace liquid

#endif  // LIQUID_KERNELS_CUDA_CUBLASLT_H_
