// The ranks of one number in all gangs of a generation.
#ifndef LIQUID_PARALLEL_RAIL_H_
#define LIQUID_PARALLEL_RAIL_H_

#include "parallel/communicator.h"

namespace liquid {

// The same ranks twice; where they compute in the hosts' memory it is the same group.
struct Rail {
  Communicator* hosts = nullptr;    // for the hosts' memory
  Communicator* devices = nullptr;  // for the memory that the ranks compute in
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_RAIL_H_
