// Products by emulated cuBLASLt against a loop, and what it refuses.
#include <cublasLt.h>
#include <cuda_bf16.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/emulated_cuda/self_test/device_array.h"

namespace liquid::emulated {
namespace {

constexpr size_t kWorkspaceBytes = 1 << 20;

float ToFloat(float x) { return x; }
float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
template <typename T>
T FromFloat(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return __float2bfloat16(x);
  }
}
template <typename T>
constexpr cudaDataType kType = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;

template <typename T>
std::vector<T> Random(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<T> values(count);
  for (T& value : values) value = FromFloat<T>(normal(random));
  return values;
}

// Row-major d [m,n] = op(a) op(b) + beta d. cuBLASLt is column-major, so it is asked for the
// transposed product of the transposed matrices.
class Product {
 public:
  Product(cudaDataType in, cudaDataType out, bool transpose_a, bool transpose_b, int m, int n,
          int k) {
    cublasLtCreate(&handle_);
    cublasLtMatmulDescCreate(&description_, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    Transpose(CUBLASLT_MATMUL_DESC_TRANSA, transpose_b);
    Transpose(CUBLASLT_MATMUL_DESC_TRANSB, transpose_a);
    layout_b_ = Layout(in, transpose_b ? n : k, transpose_b ? k : n);
    layout_a_ = Layout(in, transpose_a ? k : m, transpose_a ? m : k);
    layout_d_ = Layout(out, m, n);
    cublasLtMatmulPreferenceCreate(&preference_);
    const uint64_t max_bytes = kWorkspaceBytes;
    cublasLtMatmulPreferenceSetAttribute(preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &max_bytes, sizeof max_bytes);
  }
  ~Product() {
    cublasLtMatmulPreferenceDestroy(preference_);
    for (cublasLtMatrixLayout_t layout : {layout_a_, layout_b_, layout_d_}) {
      cublasLtMatrixLayoutDestroy(layout);
    }
    cublasLtMatmulDescDestroy(description_);
    cublasLtDestroy(handle_);
  }

  void AllowAlignment(uint32_t bytes) {
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &bytes, sizeof bytes);
    }
  }
  cublasLtMatmulHeuristicResult_t Choose() {
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    EXPECT_EQ(cublasLtMatmulAlgoGetHeuristic(handle_, description_, layout_b_, layout_a_, layout_d_,
                                             layout_d_, preference_, 1, &result, &count),
              CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(count, 1);
    EXPECT_LE(result.workspaceSize, kWorkspaceBytes);
    return result;
  }
  cublasStatus_t Run(void* d, const void* a, const void* b, float beta,
                     const cublasLtMatmulAlgo_t& algorithm, size_t workspace_bytes) {
    const float alpha = 1;
    return cublasLtMatmul(handle_, description_, &alpha, b, layout_b_, a, layout_a_, &beta, d,
                          layout_d_, d, layout_d_, &algorithm, workspace_.data(), workspace_bytes,
                          nullptr);
  }

 private:
  void Transpose(cublasLtMatmulDescAttributes_t attribute, bool transpose) {
    const cublasOperation_t operation = transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(description_, attribute, &operation, sizeof operation),
              CUBLAS_STATUS_SUCCESS);
  }
  // Of a row-major matrix.
  static cublasLtMatrixLayout_t Layout(cudaDataType type, int rows, int columns) {
    cublasLtMatrixLayout_t layout = nullptr;
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(columns),
                                         static_cast<uint64_t>(rows), columns),
              CUBLAS_STATUS_SUCCESS);
    return layout;
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t description_ = nullptr;
  cublasLtMatrixLayout_t layout_a_ = nullptr;
  cublasLtMatrixLayout_t layout_b_ = nullptr;
  cublasLtMatrixLayout_t layout_d_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
  DeviceArray<char> workspace_{kWorkspaceBytes};
};

template <typename In, typename Out>
void CheckAgainstALoop(bool transpose_a, bool transpose_b, float beta) {
  constexpr int kM = 40;
  constexpr int kN = 56;
  constexpr int kK = 72;
  const std::vector<In> a = Random<In>(kM * kK, 1);
  const std::vector<In> b = Random<In>(kK * kN, 2);
  const std::vector<Out> before = Random<Out>(kM * kN, 3);
  const DeviceArray<In> device_a(a);
  const DeviceArray<In> device_b(b);
  const DeviceArray<Out> device_d(before);
  Product product(kType<In>, kType<Out>, transpose_a, transpose_b, kM, kN, kK);
  const auto chosen = product.Choose();
  ASSERT_EQ(product.Run(device_d.data(), device_a.data(), device_b.data(), beta, chosen.algo,
                        kWorkspaceBytes),
            CUBLAS_STATUS_SUCCESS);
  const std::vector<Out> d = device_d.Values();
  for (int row = 0; row < kM; ++row) {
    for (int column = 0; column < kN; ++column) {
      double sum = beta * static_cast<double>(ToFloat(before[row * kN + column]));
      for (int k = 0; k < kK; ++k) {
        sum += static_cast<double>(ToFloat(a[transpose_a ? k * kM + row : row * kK + k])) *
               ToFloat(b[transpose_b ? column * kK + k : k * kN + column]);
      }
      // Sums of float; bfloat16 has eight bits, rounded once.
      const double tolerance = sizeof(Out) == 2 ? std::abs(sum) / 256 + 1e-4 : 1e-4;
      ASSERT_NEAR(ToFloat(d[row * kN + column]), sum, tolerance) << row << ", " << column;
    }
  }
}

TEST(EmulatedCublasLtTest, ProductsAgreeWithALoop) {
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      for (const float beta : {0.0f, 1.0f}) {
        CheckAgainstALoop<__nv_bfloat16, __nv_bfloat16>(transpose_a, transpose_b, beta);
        CheckAgainstALoop<__nv_bfloat16, float>(transpose_a, transpose_b, beta);
        CheckAgainstALoop<float, float>(transpose_a, transpose_b, beta);
      }
    }
  }
}

TEST(EmulatedCublasLtTest, MistakesAreRefused) {
  constexpr int kSide = 64;
  const DeviceArray<float> x(kSide * kSide);
  const std::vector<float> host(kSide * kSide);
  Product product(CUDA_R_32F, CUDA_R_32F, false, false, kSide, kSide, kSide);
  const auto chosen = product.Choose();
  const auto run = [&](const void* a, const cublasLtMatmulAlgo_t& algorithm, size_t bytes) {
    return product.Run(x.data(), a, x.data(), 0.0f, algorithm, bytes);
  };
  EXPECT_EQ(run(host.data(), chosen.algo, kWorkspaceBytes), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(x.data() + 1, chosen.algo, kWorkspaceBytes), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(x.data(), chosen.algo, chosen.workspaceSize - 1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(x.data(), chosen.algo, 2 * kWorkspaceBytes), CUBLAS_STATUS_INVALID_VALUE);
  Product other(CUDA_R_32F, CUDA_R_32F, true, false, kSide, kSide, kSide);
  EXPECT_EQ(run(x.data(), other.Choose().algo, kWorkspaceBytes), CUBLAS_STATUS_INVALID_VALUE);
}

TEST(EmulatedCublasLtTest, AnAlgorithmIsForTheAlignmentThatItWasChosenFor) {
  constexpr int kSide = 8;
  const DeviceArray<float> x(3 * kSide * kSide);
  Product product(CUDA_R_32F, CUDA_R_32F, false, false, kSide, kSide, kSide);
  float* const d = x.data();
  const float* const a = x.data() + kSide * kSide + 4;  // 16 bytes off
  EXPECT_EQ(
      product.Run(d, a, x.data() + kSide * kSide, 0.0f, product.Choose().algo, kWorkspaceBytes),
      CUBLAS_STATUS_INVALID_VALUE);
  product.AllowAlignment(16);
  EXPECT_EQ(
      product.Run(d, a, x.data() + kSide * kSide, 0.0f, product.Choose().algo, kWorkspaceBytes),
      CUBLAS_STATUS_SUCCESS);
}

}  // namespace
}  // namespace liquid::emulated
