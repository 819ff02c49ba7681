#ifndef LIQUID_BASE_VERSION_H_
#define LIQUID_BASE_VERSION_H_

namespace liquid {

// This build's version, such as "0.1.0". Workers of one job must agree in it.
const char* CodeVersion();

}  // namespace liquid

#endif  // LIQUID_BASE_VERSION_H_
