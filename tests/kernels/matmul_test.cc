#include <vector>

#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Doubles;
using testing::Random;

class MatMulTest : public testing::OnEachDevice {};
INSTANTIATE_TEST_SUITE_P(, MatMulTest, testing::AllDevices(), testing::DeviceName);

struct Product {
  int64_t m;
  int64_t n;
  int64_t k;
};

Doubles Reference(const std::vector<float>& out, const std::vector<float>& a,
                  const std::vector<float>& b, Product p, MatMulOptions options) {
  Doubles result(static_cast<size_t>(p.m * p.n));
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = options.accumulate ? double{out[i * p.n + j]} : 0;
      for (int64_t l = 0; l < p.k; ++l) {
        const double left = a[options.transpose_a ? l * p.m + i : i * p.k + l];
        sum += left * b[options.transpose_b ? j * p.k + l : l * p.n + j];
      }
      result[i * p.n + j] = sum;
    }
  }
  return result;
}

Shape ShapeOfA(Product p, MatMulOptions options) {
  return options.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k};
}
Shape ShapeOfB(Product p, MatMulOptions options) {
  return options.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n};
}

TEST_P(MatMulTest, MatchesTheFormulaInEveryTransposition) {
  // One element, tails of every vector width, several tiles in each direction, a long sum.
  const std::vector<Product> products = {{1, 1, 1},     {5, 7, 3},      {33, 65, 17},
                                         {1, 200, 64},  {300, 1, 40},   {257, 3, 129},
                                         {70, 401, 90}, {270, 390, 31}, {9, 11, 5000}};
  for (const Product p : products) {
    for (int bits = 0; bits < 8; ++bits) {
      const MatMulOptions options = {.transpose_a = (bits & 1) != 0,
                                     .transpose_b = (bits & 2) != 0,
                                     .accumulate = (bits & 4) != 0};
      SCOPED_TRACE(::testing::Message() << p.m << "x" << p.n << "x" << p.k << " bits " << bits);
      const std::vector<float> a = Random(p.m * p.k, 1);
      const std::vector<float> b = Random(p.k * p.n, 2);
      const std::vector<float> before = Random(p.m * p.n, 3);
      auto out = options.accumulate ? Upload(before, {p.m, p.n}) : Garbage({p.m, p.n});
      ops_->MatMul(out.view(), Upload(a, ShapeOfA(p, options)).view(),
                   Upload(b, ShapeOfB(p, options)).view(), options);
      // Rounding of a float sum of K terms of one size: about sqrt(K) * 6e-8 of the result.
      testing::ExpectClose(Download(out), Reference(before, a, b, p, options), 3e-6);
    }
  }
}

TEST_P(MatMulTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  const std::vector<Product> products = {{200, 576, 576},  {200, 192, 576},  {200, 1536, 576},
                                         {200, 576, 1536}, {576, 192, 2048}, {64, 5000, 576},
                                         {64, 576, 5000},  {5, 3, 2}};
  for (const Product p : products) {
    for (int bits = 0; bits < 4; ++bits) {
      const MatMulOptions options = {.transpose_a = (bits & 1) != 0,
                                     .transpose_b = (bits & 2) != 0};
      SCOPED_TRACE(::testing::Message() << p.m << "x" << p.n << "x" << p.k << " bits " << bits);
      const auto a = Upload(Random(p.m * p.k, 1), ShapeOfA(p, options));
      const auto b = Upload(Random(p.k * p.n, 2), ShapeOfB(p, options));
      testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
        auto out = Garbage({p.m, p.n});
        ops_->MatMul(out.view(), a.view(), b.view(), options);
        return Download(out);
      });
    }
  }
}

}  // namespace
}  // namespace liquid
