// In the place of nccl_group.cc where CUDA was not found: no CUDA stream exists to be given to it.
#include "base/check.h"
#include "parallel/nccl/nccl_group.h"

namespace liquid {

absl::StatusOr<std::unique_ptr<GangCommunicator>> CreateNcclGroup(GangCommunicator& /*hosts*/,
                                                                  Stream& /*stream*/,
                                                                  NcclOptions /*options*/) {
  return absl::UnavailableError("this program was built without NCCL");
}

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclRail(Communicator& /*hosts*/,
                                                             Stream& /*stream*/,
                                                             NcclOptions /*options*/) {
  return absl::UnavailableError("this program was built without NCCL");
}

}  // namespace liquid
