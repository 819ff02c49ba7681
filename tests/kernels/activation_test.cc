#include <cmath>
#include <vector>

#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Doubles;
using testing::ExpectClose;
using testing::NumericGradient;
using testing::Random;
using testing::ToDoubles;

class ActivationTest : public testing::OnEachDevice {};
INSTANTIATE_TEST_SUITE_P(, ActivationTest, testing::AllDevices(), testing::DeviceName);

double Evaluate(double x, Activation activation) {
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

// Values of [-6, 6) and some far out, where exp overflows or vanishes.
std::vector<float> Inputs(int64_t count) {
  std::vector<float> x = Random(count, 1, 6);
  const std::vector<float> extremes = {0.0f, -0.0f, 30,     -30,  90,   -90,
                                       200,  -200,  1e-20f, 1e4f, -1e4f};
  std::copy(extremes.begin(), extremes.end(), x.begin() + 3);
  return x;
}

// |x| <= 6 up to a few float roundings of values near 6.
constexpr double kTolerance = 1e-6;

TEST_P(ActivationTest, MatchTheFormulaAndItsDerivative) {
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
    const std::vector<float> x = Inputs(9001);
    const std::vector<float> dy = Random(9001, 2);
    const auto x_view = Upload(x, {9001});
    auto out = Garbage({9001});
    auto dx = Garbage({9001});
    ops_->Activate(out.view(), x_view.view(), activation);
    ops_->ActivateBackward(dx.view(), Upload(dy, {9001}).view(), x_view.view(), activation);
    const std::vector<float> outs = Download(out);
    const std::vector<float> dxs = Download(dx);
    for (size_t i = 0; i < x.size(); ++i) {
      const double value = Evaluate(x[i], activation);
      ASSERT_NEAR(outs[i], value, kTolerance * std::max(1.0, std::abs(value))) << x[i];
      const Doubles slope =
          NumericGradient([&](const Doubles& at) { return Doubles{Evaluate(at[0], activation)}; },
                          {double{x[i]}}, {double{dy[i]}});
      ASSERT_NEAR(dxs[i], slope[0], 2 * kTolerance) << x[i];
    }
  }
}

TEST_P(ActivationTest, GatedMatchTheFormulaAndItsDerivatives) {
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
    const int64_t count = 9001;
    const std::vector<float> gate = Random(count, 1, 6);
    const std::vector<float> up = Random(count, 2);
    const std::vector<float> dy = Random(count, 3);
    auto gate_view = Upload(gate, {count});
    auto up_view = Upload(up, {count});
    auto out = Garbage({count});
    ops_->GatedActivate(out.view(), gate_view.view(), up_view.view(), activation);
    // In place, as the contract allows.
    ops_->GatedActivateBackward(gate_view.view(), up_view.view(), Upload(dy, {count}).view(),
                                gate_view.view(), up_view.view(), activation);
    Doubles out_expected(gate.size());
    Doubles dgate(gate.size());
    Doubles dup(gate.size());
    for (size_t i = 0; i < gate.size(); ++i) {
      out_expected[i] = Evaluate(gate[i], activation) * up[i];
      dup[i] = dy[i] * Evaluate(gate[i], activation);
      dgate[i] = NumericGradient(
          [&](const Doubles& at) { return Doubles{Evaluate(at[0], activation) * up[i]}; },
          {double{gate[i]}}, {double{dy[i]}})[0];
    }
    ExpectClose(Download(out), out_expected, kTolerance);
    ExpectClose(Download(gate_view), dgate, 2 * kTolerance);
    ExpectClose(Download(up_view), dup, kTolerance);
  }
}

}  // namespace
}  // namespace liquid
