#ifndef LIQUID_PARALLEL_MPI_MPI_SESSION_H_
#define LIQUID_PARALLEL_MPI_MPI_SESSION_H_

#include <memory>

#include "parallel/gang_communicator.h"

namespace liquid {

// MPI_Init and MPI_Finalize. Made first in main() by the thread that makes all later MPI calls, and
// so destroyed last. Without mpirun it is a world of one rank.
class MpiSession {
 public:
  MpiSession(int* argc, char*** argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_size() const { return local_size_; }  // ranks on this machine
  int local_rank() const { return local_rank_; }  // among them

  // All ranks of this mpirun. A dead peer ends every rank (mpirun sees to it), so a call cannot
  // wait for it for ever; a message that is waited for long sleeps instead of burning its core.
  // Collectives on tensors are MPI's blocking ones (the others take about twice as long), so what
  // MPI cannot do, they cannot: Abort() takes effect at the next piece of 2^20 elements, not while
  // a piece waits for a peer, and Wait() knows no deadline, since all calls have run by then.
  std::unique_ptr<GangCommunicator> CreateWorld();

  // Ends all ranks of this mpirun, at once, with `exit_code`.
  [[noreturn]] static void AbortAll(int exit_code);

 private:
  int rank_ = 0;
  int size_ = 1;
  int local_size_ = 1;
  int local_rank_ = 0;
};

}  // namespace liquid

#endif  // LIQUID_PARALLEL_MPI_MPI_SESSION_H_
