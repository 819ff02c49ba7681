#include "data/pattern.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "data/concat.h"

namespace liquid {
namespace {

constexpr size_t kMaxSourceBytes = 4096;
constexpr size_t kMaxTimes = 1000;
constexpr int kMaxDepth = 16;
// Bounds on how many ways backtracking can go through groups.
constexpr size_t kMaxGroups = 8;
constexpr size_t kMaxGroupAlternatives = 32;

// ASCII sequences that one character folds to, which would have to match under (?i: ).
constexpr std::string_view kLigatures[] = {"ss", "st", "ff", "fi", "fl"};

constexpr std::pair<std::string_view, CharClassMask> kProperties[] = {
    {"L", kLetterMask},
    {"Lu", MaskOf(CharClass::kUpper)},
    {"Ll", MaskOf(CharClass::kLower)},
    {"Lt", MaskOf(CharClass::kTitle)},
    {"Lm", MaskOf(CharClass::kModifierLetter)},
    {"Lo", MaskOf(CharClass::kOtherLetter)},
    {"M", MaskOf(CharClass::kMark)},
    {"N", kNumberMask},
    {"P", kPunctuationMask},
    {"S", kSymbolMask},
};

// The end of as many characters of `node`'s set as it takes, or null if there are too few.
// `*least`: up to where characters may be given back.
inline const char* MatchSet(const PatternNode& node, const char* p, const char* end,
                            const char** least) {
  *least = p;
  if (node.max_times == PatternNode::kUnlimited && node.min_times <= 1) {
    const char* begin = p;
    p = node.set.SkipFrom(p, end);
    if (node.min_times == 0) return p;
    if (p == begin) return nullptr;
    *least = begin + Utf8Length(*begin);
    return p;
  }
  size_t times = 0;
  while (times < node.max_times && p < end && node.set.Contains(DecodeUtf8(p))) {
    p += Utf8Length(*p);
    if (++times == node.min_times) *least = p;
  }
  return times < node.min_times ? nullptr : p;
}

inline bool MayFollow(const PatternNode& node, const char* p, const char* end) {
  return p == end ? node.follow_end : node.follow[static_cast<uint8_t>(*p)];
}

}  // namespace

// Recursive descent over the source. Errors are latched; the parse ends at the first.
class PatternParser {
 public:
  PatternParser(std::string_view source, Pattern* pattern) : source_(source), pattern_(pattern) {}

  absl::Status Parse() {
    pattern_->roots_ = Alternatives(false, 0);
    if (!Done()) Fail("')' without '('");
    if (!status_.ok()) return status_;
    for (const int root : pattern_->roots_) {
      if (pattern_->MayBeEmpty(root)) Fail("an alternative that matches the empty text");
    }
    return status_;
  }

 private:
  using Node = PatternNode;

  bool Done() const { return !status_.ok() || at_ >= source_.size(); }
  bool Next(std::string_view text) {
    if (!source_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  void Fail(std::string_view what) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(
          Concat("at byte ", at_, " of the pattern: ", what, " is not implemented"));
    }
  }

  // First nodes of the alternatives up to ')' or the end. Their ends lead nowhere yet.
  std::vector<int> Alternatives(bool ignore_case, int depth) {
    if (depth > kMaxDepth) Fail("nesting this deep");
    std::vector<int> alternatives;
    do {
      alternatives.push_back(Sequence(ignore_case, depth));
    } while (!Done() && Next("|"));
    return alternatives;
  }

  int Sequence(bool ignore_case, int depth) {
    int first = Node::kEnd;
    int last = Node::kEnd;
    char previous_letter = '\0';
    while (!Done() && source_[at_] != '|' && source_[at_] != ')') {
      const char letter = absl::ascii_tolower(source_[at_]);
      if (ignore_case) RefuseLigature(previous_letter, letter);
      previous_letter = letter;
      const int node = Element(ignore_case, depth);
      if (first == Node::kEnd) first = node;
      if (last != Node::kEnd) LinkEnd(last, node);
      last = node;
    }
    if (first == Node::kEnd) Fail("an empty alternative");
    return first;
  }

  void RefuseLigature(char a, char b) {
    const char pair[] = {a, b};
    for (const std::string_view ligature : kLigatures) {
      if (ligature == std::string_view(pair, 2)) Fail("(?i:..) of letters that form a ligature");
    }
  }

  // What follows `node`, and every alternative inside of it, is `next`.
  void LinkEnd(int node, int next) {
    for (const int alternative : At(node).alternatives) {
      int last = alternative;
      while (At(last).next != Node::kEnd) last = At(last).next;
      LinkEnd(last, next);
    }
    At(node).next = next;
  }

  Node& At(int node) { return pattern_->nodes_[static_cast<size_t>(node)]; }

  int Element(bool ignore_case, int depth) {
    Node node;
    if (source_[at_] == '(') {
      Group(ignore_case, depth, &node);
    } else {
      node.set = Characters(ignore_case);
    }
    Quantifier(&node);
    pattern_->nodes_.push_back(std::move(node));
    return static_cast<int>(pattern_->nodes_.size()) - 1;
  }

  void Group(bool ignore_case, int depth, Node* node) {
    if (Next("(?!")) {
      node->kind = Node::Kind::kNotFollowedBy;
      node->set = Done() ? CharSet() : Characters(ignore_case);
    } else if (Next("(?:") || Next("(?i:")) {
      node->kind = Node::Kind::kGroup;
      node->alternatives = Alternatives(ignore_case || source_[at_ - 2] == 'i', depth + 1);
      num_group_alternatives_ += node->alternatives.size();
      if (++num_groups_ > kMaxGroups || num_group_alternatives_ > kMaxGroupAlternatives) {
        Fail("this many groups");
      }
    } else {
      return Fail("this kind of group");
    }
    if (Done() || !Next(")")) Fail("a group that is not closed, or more than a character,");
  }

  void Quantifier(Node* node) {
    if (Done()) return;
    const size_t begin = at_;
    bool may_be_possessive = true;
    if (Next("?")) {
      node->min_times = 0;
    } else if (Next("*")) {
      node->min_times = 0;
      node->max_times = Node::kUnlimited;
    } else if (Next("+")) {
      node->max_times = Node::kUnlimited;
    } else if (Next("{")) {
      may_be_possessive = false;
      node->min_times = node->max_times = Number();
      if (Next(",")) node->max_times = Number();
      if (!Next("}") || node->min_times > node->max_times) Fail("this quantifier");
    }
    if (at_ == begin) return;
    if (may_be_possessive && Next("+")) node->possessive = true;
    const bool more = !Done() && std::string_view("?*+{").find(source_[at_]) != source_.npos;
    const bool optional_group = node->min_times == 0 && node->max_times == 1 && !node->possessive;
    if (more || node->kind == Node::Kind::kNotFollowedBy ||
        (node->kind == Node::Kind::kGroup && !optional_group)) {
      Fail("this quantifier here");
    }
  }

  size_t Number() {
    size_t value = 0;
    const char* begin = source_.data() + at_;
    const auto [end, error] = std::from_chars(begin, source_.data() + source_.size(), value);
    if (error != std::errc() || value > kMaxTimes) Fail("this number");
    at_ += static_cast<size_t>(end - begin);
    return value;
  }

  CharSet Characters(bool ignore_case) {
    CharSet set;
    bool negated = false;
    const char c = source_[at_];
    if (Next("[")) {
      negated = Next("^");
      Class(&set);
    } else if (Next("\\S")) {
      set.AddClasses(kSpaceMask);
      negated = true;
    } else if (c == '\\') {
      Escape(&set);
    } else if (std::string_view(".^$*+?{").find(c) != std::string_view::npos) {
      Fail(Concat("'", std::string_view(&c, 1), "' here"));
    } else {
      const uint32_t literal = Character();
      set.AddRange(literal, literal);
    }
    if (ignore_case) set.AddOtherCases();
    if (negated) set.Negate();
    set.Finish();
    return set;
  }

  void Class(CharSet* set) {
    const size_t begin = at_;
    while (!Done() && (source_[at_] != ']' || at_ == begin)) {
      if (source_[at_] == '[' || source_.substr(at_, 2) == "&&") return Fail("a class in a class");
      uint32_t first = 0;
      if (source_[at_] == '\\') {
        if (!Escape(set, &first)) continue;
      } else {
        first = Character();
      }
      uint32_t last = first;
      const bool range = source_.substr(at_, 1) == "-" && source_.substr(at_, 2) != "-]";
      if (range) {
        ++at_;
        if (Done()) break;
        if (source_[at_] == '\\') {
          CharSet ignored;
          if (!Escape(&ignored, &last)) return Fail("a range that ends with a class");
        } else {
          last = Character();
        }
        if (last < first) return Fail("a range that runs backwards");
      }
      set->AddRange(first, last);
    }
    if (Done() || !Next("]")) Fail("a class that is not closed");
  }

  void Escape(CharSet* set) {
    uint32_t c = 0;
    if (Escape(set, &c)) set->AddRange(c, c);
  }

  // At a backslash. True: a single character, in `*c`; false: a class, added to `set`.
  bool Escape(CharSet* set, uint32_t* c) {
    ++at_;
    if (Done()) {
      Fail("a backslash at the end");
      return false;
    }
    if (Next("p{")) {
      const size_t close = std::min(source_.find('}', at_), source_.size());
      const std::string_view name = source_.substr(at_, close - at_);
      for (const auto& [known, mask] : kProperties) {
        if (known != name) continue;
        set->AddClasses(mask);
        at_ = close + 1;
        return false;
      }
      Fail(Concat("\\p{", name, "}"));
      return false;
    }
    if (Next("s")) {
      set->AddClasses(kSpaceMask);
      return false;
    }
    const char name = source_[at_];
    if (absl::ascii_isalnum(static_cast<unsigned char>(name)) && name != 'r' && name != 'n' &&
        name != 't') {
      Fail(Concat("\\", std::string_view(&name, 1)));
      return false;
    }
    *c = name == 'r' ? '\r' : name == 'n' ? '\n' : name == 't' ? '\t' : DecodeUtf8(&source_[at_]);
    at_ += Utf8Length(name);
    return true;
  }

  uint32_t Character() {
    const uint32_t c = DecodeUtf8(&source_[at_]);
    at_ += Utf8Length(source_[at_]);
    return c;
  }

  std::string_view source_;
  size_t at_ = 0;
  size_t num_groups_ = 0;
  size_t num_group_alternatives_ = 0;
  Pattern* pattern_;
  absl::Status status_;
};

absl::StatusOr<Pattern> Pattern::Compile(std::string_view source) {
  if (source.empty() || source.size() > kMaxSourceBytes || !IsValidUtf8(source)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a pattern must be UTF-8 of 1 to %d bytes", kMaxSourceBytes));
  }
  Pattern pattern;
  if (absl::Status status = PatternParser(source, &pattern).Parse(); !status.ok()) return status;
  for (uint32_t c = 0; c < pattern.ascii_roots_.size(); ++c) {
    for (const int root : pattern.roots_) {
      if (pattern.NodeMayBeginWith(root, c)) pattern.ascii_roots_[c].push_back(root);
    }
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    // A continuation byte begins nothing.
    pattern.may_begin_[byte] = byte < 128 ? !pattern.ascii_roots_[byte].empty() : byte >= 0xC0;
  }
  for (PatternNode& node : pattern.nodes_) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      node.follow[byte] = byte >= 128 || pattern.NodeMayBeginWith(node.next, byte);
    }
    node.follow_end = pattern.MayBeEmpty(node.next);
  }
  pattern.automaton_ = PatternAutomaton::Build(pattern.nodes_, pattern.roots_);
  return pattern;
}

bool Pattern::NodeMayBeginWith(int node, uint32_t ascii) const {
  if (node == PatternNode::kEnd) return true;
  const PatternNode& n = nodes_[static_cast<size_t>(node)];
  if (n.kind == PatternNode::Kind::kSet && n.set.Contains(ascii)) return true;
  for (const int alternative : n.alternatives) {
    if (NodeMayBeginWith(alternative, ascii)) return true;
  }
  const bool skippable = n.kind == PatternNode::Kind::kNotFollowedBy || n.min_times == 0;
  return skippable && NodeMayBeginWith(n.next, ascii);
}

bool Pattern::MayBeEmpty(int node) const {
  if (node == PatternNode::kEnd) return true;
  const PatternNode& n = nodes_[static_cast<size_t>(node)];
  for (const int alternative : n.alternatives) {
    if (MayBeEmpty(alternative)) return true;
  }
  const bool skippable = n.kind == PatternNode::Kind::kNotFollowedBy || n.min_times == 0;
  return skippable && MayBeEmpty(n.next);
}

// The end of the match of `node` and all that follows it, or null.
const char* Pattern::Match(int node, const char* p, const char* end) const {
  while (node != PatternNode::kEnd) {
    const PatternNode& n = nodes_[static_cast<size_t>(node)];
    switch (n.kind) {
      case PatternNode::Kind::kSet: {
        const char* least = nullptr;
        p = MatchSet(n, p, end, &least);
        if (p == nullptr || n.next == PatternNode::kEnd) return p;
        if (n.possessive) least = p;
        while (p > least) {  // gives characters back until what follows matches
          const bool may_follow = MayFollow(n, p, end);
          const char* match = may_follow ? Match(n.next, p, end) : nullptr;
          if (match != nullptr) return match;
          do {
            --p;
          } while (IsContinuation(*p));
        }
        if (!MayFollow(n, p, end)) return nullptr;
        break;
      }
      case PatternNode::Kind::kNotFollowedBy:
        if (p < end && n.set.Contains(DecodeUtf8(p))) return nullptr;
        break;
      case PatternNode::Kind::kGroup:
        for (const int alternative : n.alternatives) {
          const char* match = Match(alternative, p, end);
          if (match != nullptr) return match;
        }
        if (n.min_times > 0) return nullptr;
        break;
    }
    node = n.next;
  }
  return p;
}

size_t Pattern::MatchByBacktracking(std::string_view text, size_t at) const {
  const char* begin = text.data() + at;
  const char* end = text.data() + text.size();
  const auto lead = static_cast<uint8_t>(*begin);
  for (const int root : lead < 0x80 ? ascii_roots_[lead] : roots_) {
    const char* match = Match(root, begin, end);
    if (match != nullptr) return static_cast<size_t>(match - begin);
  }
  return 0;
}

}  // namespace liquid
