// Reads JSON piece by piece, for files too large to be kept as a tree.
//
// The caller walks the text in order; the first error is latched and ends every loop. The text
// must be valid UTF-8 and outlive the reader. One thread.
#ifndef LIQUID_DATA_JSON_READER_H_
#define LIQUID_DATA_JSON_READER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace liquid {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  // Invalid text: InvalidArgument "line 3, column 7: a value was expected".
  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

  // The first character of the next value or closing bracket; 0 at the end of the text.
  char Peek();

  // BeginObject(), then while (NextKey(&key)) one value each. `key` is valid until the next call
  // that reads a string. After the last key the object is done.
  void BeginObject() { Begin('{'); }
  bool NextKey(std::string_view* key);

  // BeginArray(), then while (NextElement()) one value each.
  void BeginArray() { Begin('['); }
  bool NextElement();

  // A string, unescaped; valid until the next call that reads a string.
  bool ReadString(std::string_view* value);
  // A number without fraction and exponent, in the range of int64.
  bool ReadInteger(int64_t* value);
  // Passes over a value of any kind and returns its text. Only brackets and strings are checked.
  std::string_view SkipValue();

  // Nothing but space is left; an error if there is more.
  bool ReadEnd();
  // Latches an error at the place reached so far, unless there is one already.
  void Fail(std::string_view what) { FailAt(place(), what); }
  // The same at a place() of before.
  void FailAt(size_t place, std::string_view what);
  size_t place() const { return at_; }

 private:
  void Begin(char open);
  bool NextItem(char close);
  bool ReadEscape();
  bool ReadHex4(uint32_t* value);
  void SkipSpace();

  std::string_view text_;
  size_t at_ = 0;
  std::vector<bool> first_;  // for each open bracket: nothing read yet
  std::string unescaped_;
  absl::Status status_;
};

}  // namespace liquid

#endif  // LIQUID_DATA_JSON_READER_H_
