// What the verbs write: to a terminal or into a pipe.
#ifndef LIQUID_CLI_TERMINAL_H_
#define LIQUID_CLI_TERMINAL_H_

#include <cstdio>
#include <string>
#include <string_view>

#include "nlohmann/json.hpp"

namespace liquid {

bool IsTerminal(std::FILE* file);
// Columns of the terminal on stdout; 80 if there is none.
int TerminalWidth();

// Writes `text` and a line end to stdout, and flushes. False if nobody reads it any more.
bool PrintLine(std::string_view text);

// One line, keys in their order. Bytes that are no UTF-8 become U+FFFD.
std::string ToJsonLine(const nlohmann::ordered_json& json);

// A line that is rewritten in place. Longer ones than the terminal is wide are cut: they could not
// be taken back.
class LiveLine {
 public:
  void Show(const std::string& line);
  void Finish();  // leaves it standing
  void Clear();   // takes it away

 private:
  bool is_shown_ = false;
};

// `argument` as a shell reads it back.
std::string ShellQuoted(const std::string& argument);

}  // namespace liquid

#endif  // LIQUID_CLI_TERMINAL_H_
