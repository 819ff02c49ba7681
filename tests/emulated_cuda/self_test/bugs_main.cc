// Makes one mistake: prints whether the results are right, if it comes to that.
#include <cstdio>

#include "tests/emulated_cuda/self_test/bugs.h"

int main(int argc, char** argv) {
  using namespace liquid::emulated;
  Bugs bugs = BugsOfOrder();
  bugs.merge(BugsOfMemory());
  bugs.merge(BugsOfHosts());
  const auto bug = argc == 2 ? bugs.find(argv[1]) : bugs.end();
  if (bug == bugs.end()) {
    fprintf(stderr, "usage: %s BUG\n", argv[0]);
    return 1;
  }
  puts(bug->second() ? "RESULT right" : "RESULT wrong");
  return 0;
}
