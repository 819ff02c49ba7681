// The template language, by cases that Jinja2 3.1.6 was asked for.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/jinja/template.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace liquid::jinja {
namespace {

using testing::HasSubstr;

absl::StatusOr<std::string> Render(std::string_view source, const Limits& limits = {}) {
  auto parsed = Template::Parse(source, "t");
  if (!parsed.ok()) return parsed.status();
  const auto data = nlohmann::ordered_json::parse(
      R"({"s":" Ab\nc ","n":5,"nums":[5,3,9,1,3],"none_value":null,
          "d":{"b":1,"A":"two","c":[1,{"k":"v"}]},
          "m":[{"role":"user","t":1},{"role":"bot","t":2}]})");
  std::vector<std::pair<std::string, Value>> variables;
  for (const auto& [name, json] : data.items()) variables.emplace_back(name, *FromJson(json, {}));
  RenderState state(limits, absl::CivilSecond(2026, 1, 5, 14, 3, 9));
  const auto text = parsed->Render(variables, state);
  if (!text.ok()) return text.status();
  return text->bytes();
}

struct Case {
  std::string_view source;
  std::string_view expected;
};

void ExpectAll(const std::vector<Case>& cases) {
  for (const auto& [source, expected] : cases) {
    const auto text = Render(source);
    ASSERT_TRUE(text.ok()) << source << ": " << text.status();
    EXPECT_EQ(*text, expected) << source;
  }
}

std::string ErrorOf(std::string_view source, const Limits& limits = {}) {
  const auto text = Render(source, limits);
  EXPECT_FALSE(text.ok()) << source << " renders " << *text;
  return text.ok() ? "" : std::string(text.status().message());
}

TEST(JinjaTest, ControlsWhitespaceAsTransformersSetsIt) {
  ExpectAll({
      {"a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"},
      {"a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc\n\n", "abc\n"},
      {"a\n  {%+ if true %}\nb{% endif +%}\nc", "a\n  b\nc"},
      {"  {{ n }}\n {{- n -}} \n q", "  55q"},
      {"{# c #}\nx\n  {# c #}\n y", "x\n y"},
      {"{% if true %}\r\nx{% endif %}\r\ny", "xy"},
      {" {%- raw -%}  {{ x }}  {%- endraw -%}  z", "{{ x }}z"},
      {"{{ '}}' }}{{ {'a': {'b': 1}}.a.b }}{x} 100%} }}", "}}1{x} 100%} }}"},
  });
}

TEST(JinjaTest, EvaluatesAsPythonDoes) {
  ExpectAll({
      {"{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 ** 2 }} {{ -n | abs }}", "-4 2 3.5 64 5"},
      {"{{ 1e16 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.1 }} {{ 1.0 }}",
       "1e+16 1000000000000000.0 1e-05 0.1 1.0"},
      {"{{ 1 < 2 < 3 }} {{ 3 > 2 > 3 }} {{ 1 == 1.0 }} {{ true == 1 }}", "True False True True"},
      {"{{ nums[::-1] }}{{ nums[1:4:2] }}{{ 'h\u00e9llo'[1] }}{{ 'abc'[-2:] }}",
       "[3, 1, 9, 3, 5][3, 1]\u00e9bc"},
      {"{{ d }}{{ (1,) }}{{ [\"it's\", none] }}",
       "{'b': 1, 'A': 'two', 'c': [1, {'k': 'v'}]}(1,)[\"it's\", None]"},
      {"{{ 'a' ~ 1 ~ none ~ 2.5 }}{{ '%s-%03d' % ('x', 7) }}", "a1None2.5x-007"},
      {"{{ 'yes' if n > 3 else 'no' }}{{ 'x' if false }}{{ not n }}", "yesFalse"},
      {"{{ 3 in nums }}{{ 'b' in d }}{{ 'z' not in 'abc' }}", "TrueTrueTrue"},
  });
}

TEST(JinjaTest, KnowsTheFiltersOfChatTemplates) {
  ExpectAll({
      {"{{ d | tojson }}", R"({"b": 1, "A": "two", "c": [1, {"k": "v"}]})"},
      {"{{ m[0] | tojson(indent=2) }}", "{\n  \"role\": \"user\",\n  \"t\": 1\n}"},
      {"{{ '<\u00e9>' | tojson }}{{ '\u00e9' | tojson(ensure_ascii=true) }}",
       "\"<\u00e9>\"\"\\u00e9\""},
      {"{{ m | map(attribute='role') | join('+') }}", "user+bot"},
      {"{{ m | selectattr('role', 'equalto', 'bot') | map(attribute='t') | first }}", "2"},
      {"{{ m | rejectattr('t', 'gt', 1) | list | length }}", "1"},
      {"{{ d | dictsort }}{{ d | items | first }}",
       "[('A', 'two'), ('b', 1), ('c', [1, {'k': 'v'}])]('b', 1)"},
      {"{{ s | trim | upper }}{{ s | length }}{{ s | replace('A', '') | trim }}", "AB\nC6b\nc"},
      {"{{ nums | sort | unique | list }}{{ nums | batch(2) | list }}",
       "[1, 3, 5, 9][[5, 3], [9, 1], [3]]"},
      {"{{ nope | default('D') }}{{ '' | default('D', true) }}{{ '5' | int + 1 }}", "DD6"},
      {"{{ 'stra\u00dfe' | upper }}{{ 'ab cd' | title }}{{ 'a\nb' | indent }}",
       "STRASSEAb Cda\n    b"},
      {"{{ 2.5 | round }}{{ 2.567 | round(2) }}{{ 2.1 | round(0, 'ceil') }}", "2.02.573.0"},
  });
}

TEST(JinjaTest, KnowsTheMethodsOfStringsAndDicts) {
  ExpectAll({
      {"{{ s.strip().split() }}{{ 'a,b,c'.rsplit(',', 1) }}", "['Ab', 'c']['a,b', 'c']"},
      {"{{ 'abc'.startswith(('x', 'a')) }}{{ 'xxay'.lstrip('x') }}{{ 'abc'.find('c') }}",
       "Trueay2"},
      {"{{ d.get('b') }}{{ d.get('z', 9) }}{{ d.keys() | list }}", "19['b', 'A', 'c']"},
      {"{{ d.items is defined }}{{ d['items'] is mapping }}{{ ''.join(['a', 'b']) }}",
       "TrueFalseab"},
  });
}

TEST(JinjaTest, ScopesVariablesAsJinjaDoes) {
  ExpectAll({
      {"{% set x = 1 %}{% for i in nums %}{% set x = x + i %}{% endfor %}{{ x }}", "1"},
      {"{% set ns = namespace(x=1) %}{% for i in nums %}{% set ns.x = ns.x + i %}{% endfor %}"
       "{{ ns.x }}",
       "22"},
      {"{% if true %}{% set y = 3 %}{% endif %}{{ y }}", "3"},
      {"{% macro f() %}{% set q = 9 %}{{ q }}{% endmacro %}{% set q = 5 %}{{ f() }}{{ q }}", "95"},
      {"{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}{{ f(b=5, a=1) }}",
       "121151"},
      {"{% macro f(l) %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}"
       "{% call(a) f(nums) %}<{{ a }}>{% endcall %}",
       "<5><3><9><1><3>"},
      {"{% set x | upper %}a{{ n }}{% endset %}{{ x }}{% filter trim %} b {% endfilter %}", "A5b"},
      {"{% with a=1 %}{{ a }}{% endwith %}{{ a }}", "1"},
  });
}

TEST(JinjaTest, RunsLoops) {
  ExpectAll({
      {"{% for x in nums if x > 2 %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}"
       "{% endfor %}",
       "1/4,2/4,3/4,4/4"},
      {"{% for x in nums %}{% if x == 1 %}{% break %}{% elif x == 3 %}{% continue %}{% endif %}"
       "{{ x }}{% endfor %}",
       "59"},
      {"{% for k, v in d.items() %}{{ k }}{% else %}none{% endfor %}", "bAc"},
      {"{% for x in [] %}a{% else %}none{% endfor %}", "none"},
      {"{% for x in [1, [2, [3]]] recursive %}{% if x is number %}{{ x }}{% else %}<{{ loop(x) }}>"
       "{% endif %}{% endfor %}",
       "1<2<3>>"},
      {"{% set g = nums | select('odd') %}{{ g | first }}{{ g | join(',') }}{{ g | join }}",
       "53,9,1,3"},
      {"{% for x in m %}{{ loop.previtem.role if not loop.first }}-{{ loop.nextitem.role if not "
       "loop.last }};"
       "{% endfor %}",
       "-bot;user-;"},
  });
}

TEST(JinjaTest, TellsTheTimeItIsGiven) {
  ExpectAll({{"{{ strftime_now('%Y-%m-%d %d %b %Y %A %H:%M:%S %-d %I %p') }}",
              "2026-01-05 05 Jan 2026 Monday 14:03:09 5 02 PM"}});
}

TEST(JinjaTest, RefusesWhatItDoesNotSupportBeforeRendering) {
  for (const std::string_view source :
       {"{% if false %}{% include 'x' %}{% endif %}", "{% do nums.append(1) %}",
        "{% if false %}{{ s | escape }}{% endif %}", "{% extends 'x' %}",
        "{% block a %}{% endblock %}", "{{ s is notatest }}", "{{ lipsum() }}", "{% break %}",
        "{% set true = 1 %}"}) {
    const auto parsed = Template::Parse(source, "t");
    EXPECT_FALSE(parsed.ok()) << source;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("t:1:")) << source;
  }
}

TEST(JinjaTest, SaysWhereTheSyntaxIsWrong) {
  EXPECT_THAT(ErrorOf("a\n  {{ n + }}"), HasSubstr("t:2:10: expected an expression, found '}}'"));
  EXPECT_THAT(ErrorOf("{% if n %}\nx"), HasSubstr("endif"));
  EXPECT_THAT(ErrorOf("\u00e9{{ 'abc"), HasSubstr("t:1:5: string without end"));
  EXPECT_THAT(ErrorOf("{{ n"), HasSubstr("tag without end"));
  EXPECT_THAT(ErrorOf("{% endfor %}"), HasSubstr("nothing to end"));
}

TEST(JinjaTest, SaysWhereRenderingFails) {
  EXPECT_THAT(ErrorOf("\n{{ nope.x }}"), HasSubstr("t:2:8: 'nope' is undefined"));
  EXPECT_THAT(ErrorOf("{{ 'a' + 1 }}"), HasSubstr("t:1:8: unsupported operands"));
  EXPECT_THAT(ErrorOf("{{ nums.append(1) }}"), HasSubstr("may not change a list"));
  EXPECT_THAT(ErrorOf("{% macro f() %}{{ raise_exception('boom') }}{% endmacro %}{{ f() }}"),
              HasSubstr("t:1:19: the chat template refuses this conversation: boom"));
  EXPECT_THAT(ErrorOf("{% set d.x = 1 %}"), HasSubstr("non-namespace"));
}

TEST(JinjaTest, AHostileTemplateEndsSoon) {
  const Limits limits = {.max_steps = 300'000, .max_text_bytes = 1 << 20, .max_depth = 200};
  for (const std::string_view source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
           "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
           "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}"
           "{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}"
           "{% endfor %}{{ ns.l == ns.l }}",
           "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}"
           "{% endfor %}",
           "{{ 'a' * 999999999999 }}",
           "{{ [1] * 999999999999 }}",
           "{{ range(999999999999) }}",
           "{{ 2 ** 999999 }}",
           "{{ 'x'.rjust(999999999999) }}",
           "{{ 9223372036854775807 + 1 }}",
           "{{ nums | batch(999999999) | list }}",
           "{{ '%9999999999s' % 1 ~ 'x' * 99999999 }}",
       }) {
    ErrorOf(source, limits);
  }
  ErrorOf("{{ " + std::string(100'000, '(') + "1");
  ErrorOf("{{ " + std::string(100'000, '[') + " }}");
  ErrorOf("{{ " + std::string(100'000, '-') + "1 }}");
  std::string nested;
  for (int i = 0; i < 10'000; ++i) nested += "{% if 1 %}";
  ErrorOf(nested);
  std::string chain = "{{ 1";
  for (int i = 0; i < 10'000; ++i) chain += "+1";
  ErrorOf(chain + " }}");
}

TEST(JinjaTest, ValuesThatHoldThemselvesAreFreed) {
  ExpectAll(
      {{"{% set ns = namespace() %}{% set ns.me = ns %}{% macro f() %}{{ f }}{% endmacro %}"
        "{% set ns.f = f %}{% for x in nums %}{% set ns.l = loop %}{% set q = loop.changed(loop) "
        "%}{% endfor %}ok",
        "ok"}});
}

TEST(JinjaTest, EveryTruncationOfATemplateEndsInAResultOrAnError) {
  constexpr std::string_view kSource =
      "{%- macro f(a, b=[1, {'k': -2.5e1}]) -%}{{ a | default('x') ~ b[0:1] }}{%- endmacro -%}\n"
      "{% for x in nums if x is odd %}{# c #}{{ f(x, b=nums) }}{% else %}{% raw %}{{{% endraw %}"
      "{% endfor %}{% set y | trim %} z\\n{% endset %}{{ y if not n == 5 else \"\\u00e9\" }}";
  for (size_t length = 0; length <= kSource.size(); ++length) {
    const auto text = Render(kSource.substr(0, length));
    if (!text.ok()) {
      EXPECT_THAT(std::string(text.status().message()), HasSubstr("t:"));
    }
  }
}

}  // namespace
}  // namespace liquid::jinja
