// Which gangs cannot connect to each other: a firewall, a wrong address, a cut cable.
#ifndef LIQUID_COORDINATOR_REACHABILITY_H_
#define LIQUID_COORDINATOR_REACHABILITY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace liquid {

class Reachability {
 public:
  // So many generations in a row in which a connection did not come to stand mean that none will.
  static constexpr int kMostTries = 3;

  // Between these two none came to stand in `generation`; whoever says it, it counts once.
  void NoteMissing(int64_t gang, int64_t other, int64_t generation);
  // All have exchanged with each other.
  void Clear() { pairs_.clear(); }
  void Forget(int64_t gang);

  // Two that will not connect: the earlier gang, which stays, and the later one, which must go so
  // that the others get on.
  struct CutOff {
    int64_t earlier;
    int64_t later;
  };
  std::optional<CutOff> FindCutOff() const;

 private:
  struct Tries {
    int64_t generation = 0;  // the last one
    int count = 0;
  };
  std::map<std::pair<int64_t, int64_t>, Tries> pairs_;  // the earlier gang first
};

}  // namespace liquid

#endif  // LIQUID_COORDINATOR_REACHABILITY_H_
