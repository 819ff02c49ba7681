// What went wrong, in words.
#ifndef LIQUID_TESTS_EMULATED_CUDA_FAULT_H_
#define LIQUID_TESTS_EMULATED_CUDA_FAULT_H_

#include <string>

namespace liquid::emulated {

// No thread of the block can run: where each of them waits.
std::string DescribeDeadlock();

// Prints "FAULT in <text>", and aborts or makes all further CUDA calls fail, as
// LIQUID_EMULATED_ABORT says.
void ReportFault(const std::string& text);

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_FAULT_H_
