// What the kernel tests share: seeded values, comparison with float64, derivatives by finite
// differences, and the claim that the number of threads leaves no trace.
#ifndef LIQUID_TESTS_KERNELS_REFERENCE_H_
#define LIQUID_TESTS_KERNELS_REFERENCE_H_

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace liquid::testing {

using Doubles = std::vector<double>;

// `count` values of [-scale, scale), the same for the same seed.
inline std::vector<float> Random(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = scale * (static_cast<float>(generator() >> 8) * 0x1p-23f - 1.0f);
  }
  return values;
}

inline Doubles ToDoubles(const std::vector<float>& values) {
  return Doubles(values.begin(), values.end());
}

// Every element is within `tolerance` times the largest magnitude that is expected, or times
// `least_scale` if that is more: the size of terms that cancel.
inline void ExpectClose(const std::vector<float>& actual, const Doubles& expected, double tolerance,
                        double least_scale = 1e-6) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = least_scale;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(double{actual[i]} - expected[i]);
    ASSERT_TRUE(error <= tolerance * largest)  // false for NaN
        << "element " << i << ": " << actual[i] << " but expected " << expected[i]
        << "; largest expected " << largest;
  }
}

// The gradient of sum_o weights[o] * f(x)[o] by central differences in float64: an error of about
// 1e-9 relative, far below what float32 kernels show.
inline Doubles NumericGradient(const std::function<Doubles(const Doubles&)>& f, Doubles x,
                               const Doubles& weights) {
  constexpr double kStep = 1e-4;
  Doubles gradient(x.size());
  const auto weighted = [&] {
    const Doubles y = f(x);
    EXPECT_EQ(y.size(), weights.size());
    double sum = 0;
    for (size_t o = 0; o < y.size(); ++o) sum += weights[o] * y[o];
    return sum;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    const double middle = x[i];
    const auto at = [&](double offset) {
      x[i] = middle + offset;
      return weighted();
    };
    const double near = (at(kStep) - at(-kStep)) / (2 * kStep);
    const double far = (at(2 * kStep) - at(-2 * kStep)) / (4 * kStep);
    gradient[i] = (4 * near - far) / 3;
    x[i] = middle;
  }
  return gradient;
}

// Runs `run`, which returns all outputs of an operation, on 1, 2, 3 and 4 threads: equal bits.
inline void ExpectSameBitsOnAnyNumberOfThreads(const std::function<std::vector<float>()>& run) {
  const int before = omp_get_max_threads();
  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    omp_set_num_threads(threads);
    const std::vector<float> outputs = run();
    if (threads == 1) first = outputs;
    ASSERT_EQ(outputs.size(), first.size());
    EXPECT_EQ(std::memcmp(outputs.data(), first.data(), first.size() * sizeof(float)), 0)
        << threads << " threads";
  }
  omp_set_num_threads(before);
}

inline std::vector<float> Concatenate(std::initializer_list<std::vector<float>> parts) {
  std::vector<float> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_KERNELS_REFERENCE_H_
