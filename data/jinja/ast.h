// A parsed template. Names of variables are numbers (Ast::symbols), so that scopes compare ints.
#ifndef LIQUID_DATA_JINJA_AST_H_
#define LIQUID_DATA_JINJA_AST_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "data/jinja/filters.h"
#include "data/jinja/tests.h"
#include "data/jinja/value.h"

namespace liquid::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class BinaryOperator { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
enum class Comparison {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Expression {
  enum class Kind {
    kConstant,     // constant
    kName,         // symbol
    kList,         // children
    kTuple,        // children
    kDict,         // children: key, value, key, value, ...
    kAttribute,    // children[0].name
    kSubscript,    // children[0][children[1]]
    kSlice,        // children[0][children[1]:children[2]:children[3]], the latter may be null
    kCall,         // children[0](arguments)
    kFilter,       // children[0]|name(arguments); children[0] is null in a filter block
    kTest,         // children[0] is name(arguments)
    kConditional,  // children[1] if children[0] else children[2], which may be null
    kAnd,          // children[0], children[1]
    kOr,           // likewise
    kNot,          // children[0]
    kNegative,     // -children[0]
    kPositive,     // +children[0]
    kBinary,       // children[0] operator children[1]
    kCompare,      // children[0] comparisons[0] children[1] comparisons[1] ...
    kConcatenate,  // children[0] ~ children[1] ~ ...
  };
  // An argument of a call: value, name=value, *value or **value.
  struct Argument {
    enum class Kind { kPositional, kNamed, kUnpackList, kUnpackDict };
    Kind kind = Kind::kPositional;
    std::string name;
    ExpressionPtr value;
  };

  Kind kind = Kind::kConstant;
  size_t offset = 0;  // in the source, for messages
  int height = 1;     // of the tree below, bounded by the parser
  std::vector<ExpressionPtr> children;
  Value constant;
  int symbol = 0;
  std::string name;
  BinaryOperator binary = BinaryOperator::kAdd;
  std::vector<Comparison> comparisons;
  std::vector<Argument> arguments;
  FilterFunction filter = nullptr;
  TestFunction test = nullptr;
};

struct Statement;
using Block = std::vector<Statement>;

// What a for or a set assigns to: a name, namespace.attribute, or a tuple of targets.
struct Target {
  int symbol = 0;
  std::string attribute;  // empty: the name itself
  std::vector<Target> parts;
};

// Of a macro or a call block.
struct Parameter {
  std::string name;
  int symbol = 0;
  ExpressionPtr default_value;  // may be null
};

struct Statement {
  enum class Kind {
    kText,         // text
    kOutput,       // value
    kIf,           // conditions[i] -> bodies[i]; a last body without condition is the else
    kFor,          // target in value [if condition]: bodies[0], else bodies[1]
    kSet,          // target = value
    kSetBlock,     // target = bodies[0] passed through value, a filter chain, if there is one
    kMacro,        // target(parameters): bodies[0]
    kCallBlock,    // value, a call, with caller(parameters): bodies[0]
    kFilterBlock,  // bodies[0] passed through value, a filter chain
    kWith,         // assignments in an inner scope: bodies[0]
    kGeneration,   // bodies[0]: what the model is trained on
    kBreak,
    kContinue,
  };

  Kind kind = Kind::kText;
  size_t offset = 0;
  Value text;  // also the name of a macro
  ExpressionPtr value;
  std::vector<ExpressionPtr> conditions;
  std::vector<Block> bodies;
  Target target;
  bool recursive = false;  // kFor
  std::vector<Parameter> parameters;
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
};

struct Ast {
  Block body;
  std::vector<std::string> symbols;
  bool has_generation = false;
};

}  // namespace liquid::jinja

#endif  // LIQUID_DATA_JINJA_AST_H_
