// How deep a JSON text nests, before anybody who recurses is given it.
#ifndef LIQUID_DATA_JSON_DEPTH_H_
#define LIQUID_DATA_JSON_DEPTH_H_

#include <string_view>

namespace liquid {

// Deeper than any conversation or tool schema; shallow enough for whoever walks the tree
// recursively.
inline constexpr int kMaxJsonDepth = 100;

// Whether more than kMaxJsonDepth objects and lists are open at once. Of a text that is no JSON
// the answer may be either; the parser will refuse it.
bool IsNestedTooDeep(std::string_view json);

}  // namespace liquid

#endif  // LIQUID_DATA_JSON_DEPTH_H_
