#include "data/jinja/template.h"

#include "base/status.h"
#include "data/jinja/evaluator.h"
#include "data/jinja/lexer.h"
#include "data/jinja/parser.h"

namespace liquid::jinja {

absl::StatusOr<Template> Template::Parse(std::string_view source, std::string name) {
  auto parsed = std::make_unique<Parsed>();
  parsed->source = NormalizeSource(source);
  parsed->name = std::move(name);
  LIQUID_ASSIGN_OR_RETURN(parsed->ast, ParseTemplate(parsed->source, parsed->name));
  return Template(std::move(parsed));
}

absl::StatusOr<Text> Template::Render(absl::Span<const std::pair<std::string, Value>> variables,
                                      RenderState& state) const {
  absl::StatusOr<Text> text =
      Evaluator(parsed_->ast, parsed_->source, parsed_->name, state).Render(variables);
  if (text.ok()) return text;
  // Without the evaluator's own mark, which would show in logs.
  return absl::Status(text.status().code(), text.status().message());
}

}  // namespace liquid::jinja
