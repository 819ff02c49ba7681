#include "base/version.h"

namespace liquid {

const char* CodeVersion() { return LIQUID_VERSION; }  // defined by base/CMakeLists.txt

}  // namespace liquid
