// A Jinja template, ready to be rendered: the engine's front door.
//
// It is the language of chat templates as Hugging Face renders them: trim_blocks and
// lstrip_blocks, no autoescape, immutable values, {% break %}, {% continue %} and
// {% generation %}, and the functions raise_exception() and strftime_now().
#ifndef LIQUID_DATA_JINJA_TEMPLATE_H_
#define LIQUID_DATA_JINJA_TEMPLATE_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/jinja/ast.h"
#include "data/jinja/render_state.h"
#include "data/jinja/text.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

class Template {
 public:
  // `name` stands in messages. InvalidArgument "name:line:column: what" for wrong syntax and for
  // what this engine does not support.
  static absl::StatusOr<Template> Parse(std::string_view source, std::string name);

  // InvalidArgument with the place for what goes wrong in the template, its own raise_exception()
  // included; ResourceExhausted beyond `state`'s limits. Any number of threads may render at once,
  // each with its own state.
  absl::StatusOr<Text> Render(absl::Span<const std::pair<std::string, Value>> variables,
                              RenderState& state) const;

  const std::string& name() const { return parsed_->name; }
  bool has_generation_blocks() const { return parsed_->ast.has_generation; }

 private:
  struct Parsed {
    std::string source;
    std::string name;
    Ast ast;
  };
  explicit Template(std::unique_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}

  std::unique_ptr<const Parsed> parsed_;
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_TEMPLATE_H_
