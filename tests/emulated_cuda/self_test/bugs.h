// Mistakes that people make with CUDA, one each. bugs_test.cc says which build reports which.
#ifndef LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_BUGS_H_
#define LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_BUGS_H_

#include <map>
#include <string>

namespace liquid::emulated {

// Returns whether the results are right.
using Bug = bool (*)();
using Bugs = std::map<std::string, Bug>;  // by name

Bugs BugsOfOrder();   // bugs_of_order.cu: barriers, races, divergence
Bugs BugsOfMemory();  // bugs_of_memory.cu: bounds, lifetimes, what was never set
Bugs BugsOfHosts();   // bugs_of_hosts.cu: pointers, streams, launches; and "none"

}  // namespace liquid::emulated

#endif  // LIQUID_TESTS_EMULATED_CUDA_SELF_TEST_BUGS_H_
