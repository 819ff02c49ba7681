// A Jinja template, rendered with a small conversation.
#include "base/check.h"
#include "data/chat_template.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kMessages = nlohmann::ordered_json::parse(
      R"([{"role":"system","content":"Be brief."},{"role":"user","content":"pwd? \u00e9"},
          {"role":"assistant","content":"`pwd`","tool_calls":[{"type":"function","function":
           {"name":"ls","arguments":{"path":"/","all":true,"n":[1,2.5,null]}}}]},
          {"role":"tool","content":""},{"role":"assistant","content":"Hello!<e>"}])",
      nullptr, false);
  static const auto kKwargs = nlohmann::ordered_json::parse(
      R"({"tools":[{"name":"ls"}],"add_generation_prompt":false,"n":3})", nullptr, false);
  const auto parsed = liquid::ChatTemplate::Parse(liquid::AsText(data, size), "t");
  if (!parsed.ok()) return 0;
  const liquid::ChatTemplate::Inputs inputs = {
      .messages = &kMessages,
      .kwargs = &kKwargs,
      .special_tokens = {{"bos_token", "<s>"}, {"eos_token", "<e>"}},
      .end_of_turn_candidates = {"<e>"},
      .now = absl::CivilSecond(2026, 2, 3, 4, 5, 6),
      .limits = {.max_steps = 20'000, .max_text_bytes = 1 << 16}};
  const auto chat = parsed->Render(inputs);
  if (!chat.ok()) return 0;
  size_t end = 0;
  for (const liquid::ByteRange& range : chat->trained) {
    LIQUID_CHECK(range.begin >= end && range.end >= range.begin && range.end <= chat->text.size());
    end = range.end;
  }
  return 0;
}
