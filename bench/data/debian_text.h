// A text to measure tokenizers on: the documentation that Debian installs.
#ifndef LIQUID_BENCH_DATA_DEBIAN_TEXT_H_
#define LIQUID_BENCH_DATA_DEBIAN_TEXT_H_

#include <cstddef>
#include <string>
#include <vector>

namespace liquid {

// Documents of valid UTF-8, of 200 bytes to 32 KiB each and `num_bytes` together (less if there is
// not that much): licences, manual pages and other documentation by turns, in an order that depends
// on nothing but the names of the files. The text is the same wherever the same packages are
// installed.
std::vector<std::string> DebianDocuments(size_t num_bytes);

}  // namespace liquid

#endif  // LIQUID_BENCH_DATA_DEBIAN_TEXT_H_
