// Attention and its gradient straight from the definition, in float64, and cases for tests of it.
#ifndef LIQUID_TESTS_KERNELS_ATTENTION_REFERENCE_H_
#define LIQUID_TESTS_KERNELS_ATTENTION_REFERENCE_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "tests/kernels/reference.h"

namespace liquid::testing {

struct AttentionCase {
  int64_t batch;
  int64_t queries;
  int64_t keys;
  int64_t heads;
  int64_t groups;
  int64_t width;
  AttentionOptions options;
  std::vector<int32_t> document_start;  // [B,Tk]; empty: none

  Shape QueryShape() const { return {batch, queries, heads, width}; }
  Shape KeyShape() const { return {batch, keys, groups, width}; }
};

struct AttentionResult {
  Doubles out;
  Doubles lse;
};

// Straight from the definition, with a dense row of scores.
inline AttentionResult AttentionReference(const AttentionCase& c, const Doubles& q,
                                          const Doubles& k, const Doubles& v) {
  AttentionResult result;
  result.out.resize(q.size());
  result.lse.resize(static_cast<size_t>(c.batch * c.heads * c.queries));
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t h = 0; h < c.heads; ++h) {
      for (int64_t t = 0; t < c.queries; ++t) {
        const int64_t i = t + c.options.query_offset;
        const int64_t g = h / (c.heads / c.groups);
        const double* qr = &q[((b * c.queries + t) * c.heads + h) * c.width];
        double* to = &result.out[((b * c.queries + t) * c.heads + h) * c.width];
        double sum = 0;
        for (int64_t j = 0; j < c.keys; ++j) {
          const bool seen = j <= i && (c.options.window == 0 || j > i - c.options.window) &&
                            (c.document_start.empty() || j >= c.document_start[b * c.keys + i]);
          if (!seen) continue;
          double dot = 0;
          for (int64_t e = 0; e < c.width; ++e) {
            dot += qr[e] * k[((b * c.keys + j) * c.groups + g) * c.width + e];
          }
          const double p = std::exp(dot * double{c.options.scale});
          sum += p;
          for (int64_t e = 0; e < c.width; ++e) {
            to[e] += p * v[((b * c.keys + j) * c.groups + g) * c.width + e];
          }
        }
        for (int64_t e = 0; e < c.width; ++e) to[e] /= sum;
        result.lse[(b * c.heads + h) * c.queries + t] = std::log(sum);
      }
    }
  }
  return result;
}

struct AttentionGradients {
  Doubles dq;
  Doubles dk;
  Doubles dv;
};

// The textbook gradient, from the reference's own out and lse.
inline AttentionGradients AttentionBackwardReference(const AttentionCase& c, const Doubles& q,
                                                     const Doubles& k, const Doubles& v,
                                                     const Doubles& dout) {
  const AttentionResult forward = AttentionReference(c, q, k, v);
  AttentionGradients result = {Doubles(q.size()), Doubles(k.size()), Doubles(v.size())};
  for (int64_t row = 0; row < c.batch * c.queries * c.heads; ++row) {
    const int64_t h = row % c.heads;
    const int64_t i = row / c.heads % c.queries;
    const int64_t b = row / c.heads / c.queries;
    const int64_t at = row * c.width;
    double delta = 0;
    for (int64_t e = 0; e < c.width; ++e) delta += dout[at + e] * forward.out[at + e];
    for (int64_t j = 0; j <= i; ++j) {
      if (c.options.window > 0 && j <= i - c.options.window) continue;
      if (!c.document_start.empty() && j < c.document_start[b * c.keys + i]) continue;
      const int64_t key = ((b * c.keys + j) * c.groups + h / (c.heads / c.groups)) * c.width;
      double score = 0;
      double dp = 0;
      for (int64_t e = 0; e < c.width; ++e) {
        score += q[at + e] * k[key + e];
        dp += dout[at + e] * v[key + e];
      }
      const double scale = c.options.scale;
      const double p = std::exp(score * scale - forward.lse[(b * c.heads + h) * c.queries + i]);
      const double ds = p * (dp - delta) * scale;
      for (int64_t e = 0; e < c.width; ++e) {
        result.dq[at + e] += ds * k[key + e];
        result.dk[key + e] += ds * q[at + e];
        result.dv[key + e] += p * dout[at + e];
      }
    }
  }
  return result;
}

inline std::vector<int32_t> Documents(int64_t batch, int64_t tokens,
                                      const std::vector<int32_t>& starts) {
  std::vector<int32_t> result;
  for (int64_t b = 0; b < batch; ++b) {
    int32_t start = 0;
    for (int32_t t = 0; t < tokens; ++t) {
      for (const int32_t s : starts) {
        if (t == s + static_cast<int32_t>(b)) start = t;  // other documents in each row
      }
      result.push_back(start);
    }
  }
  return result;
}

inline AttentionOptions Options(int64_t width, int32_t window = 0, int32_t query_offset = 0) {
  return {.scale = 1.0f / std::sqrt(static_cast<float>(width)),
          .window = window,
          .query_offset = query_offset};
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_KERNELS_ATTENTION_REFERENCE_H_
