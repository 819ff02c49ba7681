#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace liquid {

bool IsTerminal(std::FILE* file) { return isatty(fileno(file)) != 0; }

int TerminalWidth() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

bool PrintLine(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  return std::fflush(stdout) == 0;
}

std::string ToJsonLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void LiveLine::Show(const std::string& line) {
  const std::string shown = line.substr(0, static_cast<size_t>(std::max(1, TerminalWidth() - 1)));
  std::fprintf(stdout, "\r%s\x1b[K", shown.c_str());
  std::fflush(stdout);
  is_shown_ = true;
}

void LiveLine::Finish() {
  if (is_shown_) std::fputc('\n', stdout);
  std::fflush(stdout);
  is_shown_ = false;
}

void LiveLine::Clear() {
  if (is_shown_) std::fputs("\r\x1b[K", stdout);
  std::fflush(stdout);
  is_shown_ = false;
}

std::string ShellQuoted(const std::string& argument) {
  const auto is_plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("-_./=:,+@%").find(c) != std::string_view::npos;
  };
  if (!argument.empty() && std::all_of(argument.begin(), argument.end(), is_plain)) return argument;
  return absl::StrCat("'", absl::StrReplaceAll(argument, {{"'", "'\\''"}}), "'");
}

}  // namespace liquid
