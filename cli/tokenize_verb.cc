#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/status.h"
#include "cli/token_line.h"
#include "cli/verbs.h"

namespace liquid {
namespace {

constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kMaxLineBytes = size_t{256} << 20;
constexpr size_t kFlushBytes = 1 << 20;

struct TokenizeFlags {
  std::string directory;
  std::string chat_template;
  bool special = false;
};

// The lines of stdin. A line is a view that the next call invalidates.
class InputLines {
 public:
  struct Line {
    std::string_view text;  // without its end
    bool too_long = false;  // `text` is then empty
  };

  // Whether Next() can answer without waiting for input.
  bool HasLine() const { return std::memchr(buffer_.data() + at_, '\n', buffer_.size() - at_); }

  // Nothing at the end of the input.
  absl::StatusOr<std::optional<Line>> Next() {
    size_t searched = at_;
    bool too_long = false;
    while (true) {
      const size_t end = buffer_.find('\n', searched);
      if (end != std::string::npos || (ended_ && at_ < buffer_.size())) {
        const size_t stop = end == std::string::npos ? buffer_.size() : end;
        Line line{std::string_view(buffer_).substr(at_, stop - at_), too_long};
        at_ = end == std::string::npos ? stop : stop + 1;
        if (too_long) line.text = {};
        return std::optional<Line>(line);
      }
      if (ended_) {
        if (!too_long) return std::optional<Line>();
        return std::optional<Line>(Line{{}, true});
      }
      if (buffer_.size() - at_ > kMaxLineBytes) {
        too_long = true;
        at_ = buffer_.size();
      }
      LIQUID_RETURN_IF_ERROR(Read());
      searched = too_long ? at_ : searched_;
    }
  }

 private:
  absl::Status Read() {
    buffer_.erase(0, at_);
    at_ = 0;
    const size_t held = buffer_.size();
    searched_ = held;
    buffer_.resize(held + kReadBytes);
    ssize_t count = 0;
    do {
      count = read(STDIN_FILENO, buffer_.data() + held, kReadBytes);
    } while (count < 0 && errno == EINTR);
    buffer_.resize(held + static_cast<size_t>(count > 0 ? count : 0));
    if (count < 0) return ErrnoStatus(errno, "read", "stdin");
    ended_ = count == 0;
    return absl::OkStatus();
  }

  std::string buffer_;
  size_t at_ = 0;        // begin of the next line
  size_t searched_ = 0;  // no line end before it
  bool ended_ = false;
};

absl::Status WriteOut(std::string* out) {
  std::string_view rest = *out;
  while (!rest.empty()) {
    const ssize_t count = write(STDOUT_FILENO, rest.data(), rest.size());
    if (count < 0 && errno != EINTR) return ErrnoStatus(errno, "write", "stdout");
    if (count > 0) rest.remove_prefix(static_cast<size_t>(count));
  }
  out->clear();
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Tokenize(const TokenizeFlags& flags) {
  const auto tokenizer = LineTokenizer::Load(flags.directory, flags.chat_template, flags.special);
  if (!tokenizer.ok()) return WithExitCode(tokenizer.status(), ExitCode::kData);
  InputLines lines;
  std::string out;
  while (true) {
    // Nobody waits for an answer that is already made.
    if (!lines.HasLine() || out.size() >= kFlushBytes) LIQUID_RETURN_IF_ERROR(WriteOut(&out));
    LIQUID_ASSIGN_OR_RETURN(const std::optional<InputLines::Line> line, lines.Next());
    if (!line.has_value()) break;
    if (line->too_long) {
      AppendErrorLine("the line is longer than 256 MiB", &out);
    } else {
      tokenizer->Answer(line->text, &out);
    }
  }
  LIQUID_RETURN_IF_ERROR(WriteOut(&out));
  return ExitCode::kOk;
}

}  // namespace

Verb AddTokenizeVerb(CLI::App& liquid) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* app = liquid.add_subcommand("tokenize", "Turns lines of JSON into token ids.");
  app->add_option("MODEL_DIR", flags->directory,
                  "directory with tokenizer.json, and perhaps tokenizer_config.json")
      ->required();
  app->add_option("--chat-template", flags->chat_template,
                  "Jinja template to use instead of the directory's");
  app->add_flag("--special", flags->special, "put BOS and the like around texts");
  app->footer(
      "Reads stdin, a JSON object a line, and answers each with a line:\n"
      "  {\"text\": \"...\"}                     {\"ids\":[..]}\n"
      "  {\"messages\": [..], \"kwargs\": {..}}  "
      "{\"ids\":[..],\"rendered\":\"..\",\"mask\":[0,1,..]}\n"
      "  anything else                       {\"error\":\"..\"}");
  return {app, [flags] { return Tokenize(*flags); }};
}

}  // namespace liquid
