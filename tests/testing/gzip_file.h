// Files that may be stored packed.
#ifndef LIQUID_TESTS_TESTING_GZIP_FILE_H_
#define LIQUID_TESTS_TESTING_GZIP_FILE_H_

#include <zlib.h>

#include <cstddef>
#include <string>
#include <vector>

namespace liquid::testing {

// The content of `path`, or of `path`.gz unpacked; "" if there is neither.
inline std::string ReadPlainOrGzip(const std::string& path) {
  constexpr unsigned kBufferBytes = 1 << 16;
  std::string content;
  for (const std::string& name : {path, path + ".gz"}) {
    gzFile file = gzopen(name.c_str(), "rb");  // reads plain files too
    if (file == nullptr) continue;
    std::vector<char> buffer(kBufferBytes);
    for (int n = 0; (n = gzread(file, buffer.data(), kBufferBytes)) > 0;) {
      content.append(buffer.data(), static_cast<size_t>(n));
    }
    gzclose(file);
    break;
  }
  return content;
}

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_TESTING_GZIP_FILE_H_
