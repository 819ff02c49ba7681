#ifndef LIQUID_BASE_OUT_OF_MEMORY_H_
#define LIQUID_BASE_OUT_OF_MEMORY_H_

#include <functional>
#include <string>

namespace liquid {

// What ExitOutOfMemory (base/exit_code.h) says takes less memory, from now on: better than its own
// general words. Not thread-safe: to be set before memory is asked for.
void SetOutOfMemoryAdvice(std::function<std::string()> advice);

}  // namespace liquid

#endif  // LIQUID_BASE_OUT_OF_MEMORY_H_
