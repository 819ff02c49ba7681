// Matrix products by cuBLASLt on one stream.
#ifndef LIQUID_KERNELS_CUDA_PRODUCTS_H_
#define LIQUID_KERNELS_CUDA_PRODUCTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/device/workspace.h"
#include "kernels/ops.h"
#include "tensor/cuda/cuda_stream.h"

namespace liquid {

// The algorithm for a shape is asked for once and kept, without those that add up in an order that
// may change from run to run. Sums are in fp32; operands in fp32 are multiplied in fp32.
// Not thread-safe.
class CudaProducts {
 public:
  static constexpr int64_t kWorkspaceBytes = cuda::kProductWorkspaceBytes;

  // The stream must outlive this. What fails is latched there, also that there is no cuBLASLt.
  explicit CudaProducts(CudaStream& stream);

  // As Ops::MatMul, shapes checked. No extent is 0.
  void Multiply(const TensorView& out, const ConstTensorView& a, const ConstTensorView& b,
                MatMulOptions options);
  // What decides bits: "cuBLASLt 130000, 14 products of digest ...": of the shapes multiplied so
  // far and the algorithms chosen for them.
  std::string Recipe() const;

 private:
  // A handle of the library, which is loaded when there is one, with its destroy function.
  template <typename T>
  using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;
  struct Product {
    Owned<cublasLtMatmulDesc_t> operation;
    Owned<cublasLtMatrixLayout_t> left;  // in cuBLASLt's column-major order: our right operand
    Owned<cublasLtMatrixLayout_t> right;
    Owned<cublasLtMatrixLayout_t> out;
    cublasLtMatmulAlgo_t algorithm;
  };
  // m, n, k, transposed a, transposed b, accumulate, dtype of operands, dtype of out, alignment of
  // all three in bytes
  using Key = std::tuple<int64_t, int64_t, int64_t, bool, bool, bool, DType, DType, uint32_t>;

  const Product* Find(const Key& key);
  bool SetOperation(const Key& key, cublasLtMatmulDesc_t operation);
  bool SetLayouts(const Key& key, Product* product);
  bool ChooseAlgorithm(const Key& key, Product* product);
  std::string Describe(const Key& key, const Product& product) const;
  // Latches what is not a success.
  bool Succeeds(cublasStatus_t code, const char* what);

  CudaStream& stream_;
  const CublasLt* library_ = nullptr;  // null: there is none, nothing is done
  Owned<cublasLtHandle_t> handle_{nullptr, nullptr};
  Buffer workspace_;
  std::map<Key, Product> products_;
};

}  // namespace liquid

#endif  // LIQUID_KERNELS_CUDA_PRODUCTS_H_
