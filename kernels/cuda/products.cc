#include "kernels/cuda/products.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/hash.h"

namespace liquid {
namespace {

cudaDataType_t ToCuda(DType dtype) {
  LIQUID_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, std::string(DTypeName(dtype)));
  return dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

// The largest power of two, up to 256, that divides all three addresses.
uint32_t AlignmentOf(const void* x, const void* y, const void* z) {
  constexpr uintptr_t kMost = 256;
  const auto bits = reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y) |
                    reinterpret_cast<uintptr_t>(z) | kMost;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

}  // namespace

CudaProducts::CudaProducts(CudaStream& stream) : stream_(stream) {
  const absl::StatusOr<CublasLt>& library = LoadCublasLt();
  if (!library.ok()) {
    stream.Latch(library.status());
    return;
  }
  library_ = &*library;
  cublasLtHandle_t handle = nullptr;
  if (!Succeeds(library_->Create(&handle), "cublasLtCreate")) return;
  handle_ = {handle, library_->Destroy};
  auto workspace = stream.device().Allocate(kWorkspaceBytes);
  stream.Latch(workspace.status());
  if (workspace.ok()) workspace_ = *std::move(workspace);
}

std::string CudaProducts::Recipe() const {
  if (library_ == nullptr) return "no cuBLASLt";
  std::string all;
  for (const auto& [key, product] : products_) absl::StrAppend(&all, Describe(key, product), "\n");
  return absl::StrCat("cuBLASLt ", library_->GetVersion(), ", ", products_.size(),
                      " products of digest ", ToHex(HashBytes(all)));
}

std::string CudaProducts::Describe(const Key& key, const Product& product) const {
  const auto& [m, n, k, transpose_a, transpose_b, accumulate, dtype, out_dtype, alignment] = key;
  std::string text =
      absl::StrCat(m, " ", n, " ", k, " ", transpose_a, transpose_b, accumulate, " ",
                   static_cast<int>(dtype), " ", static_cast<int>(out_dtype), " ", alignment, ":");
  for (const auto attribute :
       {CUBLASLT_ALGO_CONFIG_ID, CUBLASLT_ALGO_CONFIG_TILE_ID, CUBLASLT_ALGO_CONFIG_STAGES_ID,
        CUBLASLT_ALGO_CONFIG_SPLITK_NUM, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
        CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION}) {
    uint32_t value = 0;
    size_t written = 0;
    const cublasStatus_t code = library_->MatmulAlgoConfigGetAttribute(
        &product.algorithm, attribute, &value, sizeof(value), &written);
    absl::StrAppend(&text, " ", code == CUBLAS_STATUS_SUCCESS ? absl::StrCat(value) : "-");
  }
  return text;
}

bool CudaProducts::Succeeds(cublasStatus_t code, const char* what) {
  if (code == CUBLAS_STATUS_SUCCESS) return true;
  stream_.Latch(absl::InternalError(absl::StrCat(what, ": ", library_->GetStatusString(code))));
  return false;
}

// Row-major out = op(a) op(b) is column-major out^T = op(b)^T op(a)^T: the operands change places,
// and each row-major matrix is read as its transpose.
bool CudaProducts::SetOperation(const Key& key, cublasLtMatmulDesc_t operation) {
  const auto transpose = [&](cublasLtMatmulDescAttributes_t which, bool is_transposed) {
    const cublasOperation_t value = is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    return Succeeds(library_->MatmulDescSetAttribute(operation, which, &value, sizeof(value)),
                    "cublasLtMatmulDescSetAttribute");
  };
  return transpose(CUBLASLT_MATMUL_DESC_TRANSA, std::get<4>(key)) &&
         transpose(CUBLASLT_MATMUL_DESC_TRANSB, std::get<3>(key));
}

bool CudaProducts::SetLayouts(const Key& key, Product* product) {
  const auto& [m, n, k, transpose_a, transpose_b, accumulate, dtype, out_dtype, alignment] = key;
  // Rows and columns as cuBLASLt counts them.
  const auto make = [&](Owned<cublasLtMatrixLayout_t>* layout, DType type, int64_t rows,
                        int64_t columns) {
    cublasLtMatrixLayout_t made = nullptr;
    const bool ok =
        Succeeds(library_->MatrixLayoutCreate(&made, ToCuda(type), static_cast<uint64_t>(rows),
                                              static_cast<uint64_t>(columns), rows),
                 "cublasLtMatrixLayoutCreate");
    *layout = {made, library_->MatrixLayoutDestroy};
    return ok;
  };
  return make(&product->left, dtype, transpose_b ? k : n, transpose_b ? n : k) &&
         make(&product->right, dtype, transpose_a ? m : k, transpose_a ? k : m) &&
         make(&product->out, out_dtype, n, m);
}

bool CudaProducts::ChooseAlgorithm(const Key& key, Product* product) {
  cublasLtMatmulPreference_t preference = nullptr;
  if (!Succeeds(library_->MatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate")) {
    return false;
  }
  const Owned<cublasLtMatmulPreference_t> owner(preference, library_->MatmulPreferenceDestroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
    return Succeeds(library_->MatmulPreferenceSetAttribute(preference, what, &value, sizeof(value)),
                    "cublasLtMatmulPreferenceSetAttribute");
  };
  const uint64_t workspace_bytes = kWorkspaceBytes;
  // A long sum may be cut in parts that are added up afterwards, one after the other: without, the
  // gradient of a small weight leaves most of the device idle. Not by whoever comes first.
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  const uint32_t alignment = std::get<8>(key);
  cublasLtMatmulHeuristicResult_t result{};
  int num_results = 0;
  const bool ok = prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes) &&
                  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions) &&
                  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment) &&
                  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment) &&
                  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment) &&
                  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment) &&
                  Succeeds(library_->MatmulAlgoGetHeuristic(
                               handle_.get(), product->operation.get(), product->left.get(),
                               product->right.get(), product->out.get(), product->out.get(),
                               preference, 1, &result, &num_results),
                           "cublasLtMatmulAlgoGetHeuristic") &&
                  Succeeds(num_results == 1 ? result.state : CUBLAS_STATUS_NOT_SUPPORTED,
                           "an algorithm for a matrix product");
  product->algorithm = result.algo;
  return ok;
}

const CudaProducts::Product* CudaProducts::Find(const Key& key) {
  const auto found = products_.find(key);
  if (found != products_.end()) return &found->second;
  if (workspace_ == nullptr) return nullptr;  // the constructor has failed
  cublasLtMatmulDesc_t operation = nullptr;
  if (!Succeeds(library_->MatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                "cublasLtMatmulDescCreate")) {
    return nullptr;
  }
  Product product = {.operation = {operation, library_->MatmulDescDestroy},
                     .left = {nullptr, nullptr},
                     .right = {nullptr, nullptr},
                     .out = {nullptr, nullptr},
                     .algorithm = {}};
  if (!SetOperation(key, operation) || !SetLayouts(key, &product) ||
      !ChooseAlgorithm(key, &product)) {
    return nullptr;
  }
  return &products_.emplace(key, std::move(product)).first->second;
}

void CudaProducts::Multiply(const TensorView& out, const ConstTensorView& a,
                            const ConstTensorView& b, MatMulOptions options) {
  const Product* product = Find({out.shape[0], out.shape[1], a.shape[options.transpose_a ? 0 : 1],
                                 options.transpose_a, options.transpose_b, options.accumulate,
                                 a.dtype, out.dtype, AlignmentOf(out.data, a.data, b.data)});
  if (product == nullptr) return;
  const float one = 1;
  const float beta = options.accumulate ? 1.0f : 0.0f;
  Succeeds(library_->Matmul(handle_.get(), product->operation.get(), &one, b.data,
                            product->left.get(), a.data, product->right.get(), &beta, out.data,
                            product->out.get(), out.data, product->out.get(), &product->algorithm,
                            workspace_.get(), kWorkspaceBytes, stream_.native()),
           "cublasLtMatmul");
}

}  // namespace liquid
