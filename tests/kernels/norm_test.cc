#include <cmath>
#include <vector>

#include "tests/kernels/reference.h"
#include "tests/testing/devices.h"

namespace liquid {
namespace {

using testing::Concatenate;
using testing::Doubles;
using testing::ExpectClose;
using testing::NumericGradient;
using testing::Random;
using testing::ToDoubles;

// Sums run in float64 or over few float lanes: the errors are those of a handful of float
// operations, 1e-6; gradients cancel a little, 1e-5.
constexpr double kForwardTolerance = 1e-6;
constexpr double kGradientTolerance = 1e-5;
constexpr double kTermSize = 0.1;  // of the terms that cancel in dx, all of them if D = 1
constexpr float kEps = 1e-5f;

class NormTest : public testing::OnEachDevice {};
INSTANTIATE_TEST_SUITE_P(, NormTest, testing::AllDevices(), testing::DeviceName);

Doubles RmsNormReference(const Doubles& x, const Doubles& weight, double offset) {
  const size_t width = weight.size();
  Doubles out(x.size());
  for (size_t row = 0; row < x.size(); row += width) {
    double sum = 0;
    for (size_t d = 0; d < width; ++d) sum += x[row + d] * x[row + d];
    const double rstd = 1 / std::sqrt(sum / static_cast<double>(width) + double{kEps});
    for (size_t d = 0; d < width; ++d) out[row + d] = x[row + d] * rstd * (offset + weight[d]);
  }
  return out;
}

Doubles LayerNormReference(const Doubles& x, const Doubles& weight, const Doubles& bias) {
  const size_t width = weight.size();
  const auto count = static_cast<double>(width);
  Doubles out(x.size());
  for (size_t row = 0; row < x.size(); row += width) {
    double mean = 0;
    double variance = 0;
    for (size_t d = 0; d < width; ++d) mean += x[row + d] / count;
    for (size_t d = 0; d < width; ++d) variance += std::pow(x[row + d] - mean, 2) / count;
    const double rstd = 1 / std::sqrt(variance + double{kEps});
    for (size_t d = 0; d < width; ++d) {
      out[row + d] = (x[row + d] - mean) * rstd * weight[d] + bias[d];
    }
  }
  return out;
}

TEST_P(NormTest, RmsNormMatchesTheFormulaAndItsDerivatives) {
  for (const int64_t width : {1, 5, 16, 37, 100}) {
    for (const float offset : {0.0f, 1.0f}) {
      SCOPED_TRACE(::testing::Message() << "width " << width << " offset " << offset);
      const int64_t rows = 7;
      const Shape shape = {rows, width};
      const std::vector<float> x = Random(rows * width, 1, 3);
      const std::vector<float> w = Random(width, 2);
      const std::vector<float> dy = Random(rows * width, 3);
      const auto x_view = Upload(x, shape);
      const auto w_view = Upload(w, {width});
      auto out = Garbage(shape);
      auto rstd = Garbage({rows});
      ops_->RmsNorm(out.view(), rstd.view(), x_view.view(), w_view.view(), kEps, offset);
      ExpectClose(Download(out), RmsNormReference(ToDoubles(x), ToDoubles(w), offset),
                  kForwardTolerance);
      auto dx = Garbage(shape);
      auto dw = Upload(w, {width});
      ops_->RmsNormBackward(dx.view(), dw.view(), Upload(dy, shape).view(), x_view.view(),
                            w_view.view(), rstd.view(), offset);
      ExpectClose(Download(dx),
                  NumericGradient(
                      [&](const Doubles& at) { return RmsNormReference(at, ToDoubles(w), offset); },
                      ToDoubles(x), ToDoubles(dy)),
                  kGradientTolerance, kTermSize);
      Doubles dw_expected = NumericGradient(
          [&](const Doubles& at) { return RmsNormReference(ToDoubles(x), at, offset); },
          ToDoubles(w), ToDoubles(dy));
      for (int64_t d = 0; d < width; ++d) dw_expected[d] += w[d];  // it accumulates
      ExpectClose(Download(dw), dw_expected, kGradientTolerance);
    }
  }
}

TEST_P(NormTest, LayerNormMatchesTheFormulaAndItsDerivatives) {
  for (const int64_t width : {2, 5, 16, 37, 100}) {
    SCOPED_TRACE(::testing::Message() << "width " << width);
    const int64_t rows = 7;
    const Shape shape = {rows, width};
    const std::vector<float> x = Random(rows * width, 1, 3);
    const std::vector<float> w = Random(width, 2);
    const std::vector<float> b = Random(width, 4);
    const std::vector<float> dy = Random(rows * width, 3);
    const auto x_view = Upload(x, shape);
    const auto w_view = Upload(w, {width});
    auto out = Garbage(shape);
    auto mean = Garbage({rows});
    auto rstd = Garbage({rows});
    ops_->LayerNorm(out.view(), mean.view(), rstd.view(), x_view.view(), w_view.view(),
                    Upload(b, {width}).view(), kEps);
    ExpectClose(Download(out), LayerNormReference(ToDoubles(x), ToDoubles(w), ToDoubles(b)),
                kForwardTolerance);
    auto dx = Garbage(shape);
    auto dw = Upload(w, {width});
    auto db = Upload(b, {width});
    ops_->LayerNormBackward(dx.view(), dw.view(), db.view(), Upload(dy, shape).view(),
                            x_view.view(), w_view.view(), mean.view(), rstd.view());
    const auto check = [&](const PooledTensor& actual, const std::vector<float>& at,
                           const std::vector<float>& before, auto f) {
      Doubles expected = NumericGradient(f, ToDoubles(at), ToDoubles(dy));
      for (size_t i = 0; i < before.size(); ++i) expected[i] += before[i];
      ExpectClose(Download(actual), expected, kGradientTolerance, kTermSize);
    };
    check(dx, x, {},
          [&](const Doubles& at) { return LayerNormReference(at, ToDoubles(w), ToDoubles(b)); });
    check(dw, w, w,
          [&](const Doubles& at) { return LayerNormReference(ToDoubles(x), at, ToDoubles(b)); });
    check(db, b, b,
          [&](const Doubles& at) { return LayerNormReference(ToDoubles(x), ToDoubles(w), at); });
  }
}

// Widths around those at which a device takes another way, rows that fill several chunks of sums,
// and derivatives by their formulas: finite differences would take too long.
TEST_P(NormTest, RowsOfAnyWidthMatchTheFormulasOfTheDerivatives) {
  for (const int64_t width : {8, 64, 128, 136, 520, 1024, 1025, 2056, 12304, 25000}) {
    SCOPED_TRACE(::testing::Message() << "width " << width);
    const int64_t rows = width <= 128 ? 150 : width <= 1025 ? 70 : 9;
    const Shape shape = {rows, width};
    const auto count = static_cast<double>(width);
    const std::vector<float> x = Random(rows * width, 1, 3);
    const std::vector<float> w = Random(width, 2);
    const std::vector<float> b = Random(width, 4);
    const std::vector<float> dy = Random(rows * width, 3);
    const auto x_view = Upload(x, shape);
    const auto w_view = Upload(w, {width});
    const auto dy_view = Upload(dy, shape);
    auto out = Garbage(shape);
    auto dx = Garbage(shape);
    auto dw = Upload(w, {width});
    auto db = Upload(b, {width});
    auto mean = Garbage({rows});
    auto rstd = Garbage({rows});
    for (const bool centred : {false, true}) {
      const double offset = centred ? 0 : 1;
      Doubles dx_expected;
      Doubles dw_expected = ToDoubles(w);
      Doubles db_expected = ToDoubles(b);
      for (int64_t row = 0; row < rows; ++row) {
        const float* xr = x.data() + row * width;
        const float* dyr = dy.data() + row * width;
        double m = 0;
        double variance = 0;
        for (int64_t d = 0; d < width; ++d) m += centred ? xr[d] / count : 0;
        for (int64_t d = 0; d < width; ++d) variance += std::pow(xr[d] - m, 2) / count;
        const double r = 1 / std::sqrt(variance + double{kEps});
        double shift = 0;
        double slope = 0;
        for (int64_t d = 0; d < width; ++d) {
          const double g = dyr[d] * (offset + w[d]);
          shift += centred ? g / count : 0;
          slope += g * (xr[d] - m) * r / count;
        }
        for (int64_t d = 0; d < width; ++d) {
          const double normal = (xr[d] - m) * r;
          dx_expected.push_back(r * (dyr[d] * (offset + w[d]) - shift - normal * slope));
          dw_expected[d] += dyr[d] * normal;
          db_expected[d] += dyr[d];
        }
      }
      if (centred) {
        dw = Upload(w, {width});
        ops_->LayerNorm(out.view(), mean.view(), rstd.view(), x_view.view(), w_view.view(),
                        Upload(b, {width}).view(), kEps);
        ExpectClose(Download(out), LayerNormReference(ToDoubles(x), ToDoubles(w), ToDoubles(b)),
                    kForwardTolerance);
        ops_->LayerNormBackward(dx.view(), dw.view(), db.view(), dy_view.view(), x_view.view(),
                                w_view.view(), mean.view(), rstd.view());
        ExpectClose(Download(db), db_expected, kGradientTolerance);
      } else {
        ops_->RmsNorm(out.view(), rstd.view(), x_view.view(), w_view.view(), kEps, 1);
        ExpectClose(Download(out), RmsNormReference(ToDoubles(x), ToDoubles(w), 1),
                    kForwardTolerance);
        ops_->RmsNormBackward(dx.view(), dw.view(), dy_view.view(), x_view.view(), w_view.view(),
                              rstd.view(), 1);
      }
      ExpectClose(Download(dx), dx_expected, kGradientTolerance);
      ExpectClose(Download(dw), dw_expected, kGradientTolerance);
    }
  }
}

TEST_P(NormTest, WorksInPlace) {
  const std::vector<float> x = Random(40 * 33, 1);
  const auto w = Upload(Random(33, 2), {33});
  auto apart = Garbage({40, 33});
  auto rstd = Garbage({40});
  auto mean = Garbage({40});
  auto in_place = Upload(x, {40, 33});
  ops_->RmsNorm(apart.view(), rstd.view(), in_place.view(), w.view(), kEps, 0);
  ops_->RmsNorm(in_place.view(), rstd.view(), in_place.view(), w.view(), kEps, 0);
  EXPECT_EQ(Download(in_place), Download(apart));
}

TEST_P(NormTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Shape shape = {700, 333};
  const auto x = Upload(Random(shape.NumElements(), 1), shape);
  const auto dy = Upload(Random(shape.NumElements(), 2), shape);
  const auto w = Upload(Random(333, 3), {333});
  testing::ExpectSameBitsOnAnyNumberOfThreads([&] {
    auto out = Garbage(shape);
    auto out2 = Garbage(shape);
    auto rstd = Garbage({700});
    auto rstd2 = Garbage({700});
    auto mean = Garbage({700});
    auto dx = Garbage(shape);
    auto dx2 = Garbage(shape);
    auto dw = Upload(std::vector<float>(333), {333});
    auto dw2 = Upload(std::vector<float>(333), {333});
    auto db = Upload(std::vector<float>(333), {333});
    ops_->RmsNorm(out.view(), rstd.view(), x.view(), w.view(), kEps, 1);
    ops_->RmsNormBackward(dx.view(), dw.view(), dy.view(), x.view(), w.view(), rstd.view(), 1);
    ops_->LayerNorm(out2.view(), mean.view(), rstd2.view(), x.view(), w.view(), w.view(), kEps);
    ops_->LayerNormBackward(dx2.view(), dw2.view(), db.view(), dy.view(), x.view(), w.view(),
                            mean.view(), rstd2.view());
    return Concatenate({Download(out), Download(dx), Download(dw), Download(out2), Download(dx2),
                        Download(dw2), Download(db)});
  });
}

}  // namespace
}  // namespace liquid
