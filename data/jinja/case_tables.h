// Tables for data/jinja/case.cc.
#ifndef LIQUID_DATA_JINJA_CASE_TABLES_H_
#define LIQUID_DATA_JINJA_CASE_TABLES_H_

#include <cstddef>
#include <cstdint>

namespace liquid::jinja {

// Code points first, first + stride, ..., last map to themselves plus delta.
struct CaseRun {
  char32_t first;
  char32_t last;
  char32_t stride;
  int32_t delta;
};

// A code point that maps to two or three; unused places are 0.
struct CaseExpansion {
  char32_t code_point;
  char32_t to[3];
};

// In ascending order.
extern const CaseRun kUpperRuns[];
extern const size_t kNumUpperRuns;
extern const CaseRun kLowerRuns[];
extern const size_t kNumLowerRuns;
extern const CaseExpansion kUpperExpansions[];
extern const size_t kNumUpperExpansions;

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_CASE_TABLES_H_
