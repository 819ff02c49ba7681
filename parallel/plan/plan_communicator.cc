#include "parallel/plan/plan_communicator.h"

#include "base/check.h"

namespace liquid {

const char* CollectiveName(Collective collective) {
  switch (collective) {
    case Collective::kAllReduce:
      return "all-reduce";
    case Collective::kBroadcast:
      return "broadcast";
    case Collective::kAllGather:
      return "all-gather";
    case Collective::kReduceScatter:
      return "reduce-scatter";
    case Collective::kReduce:
      return "reduce";
  }
  return "";
}

double CollectiveCall::SentBytes() const {
  const double part = static_cast<double>(bytes) * (size - 1) / size;
  return collective == Collective::kAllReduce ? 2 * part : part;
}

void CollectiveLog::Add(const CollectiveCall& call) {
  MutexLock lock(mutex_);
  ++counts_[call];
}

CollectiveCounts CollectiveLog::Take() {
  MutexLock lock(mutex_);
  return std::exchange(counts_, {});
}

void PlanCommunicator::AllGatherParts(TensorView out, ConstTensorView in) {
  LIQUID_CHECK(out.NumBytes() == in.NumBytes() * size_, "parts of ", in.NumBytes(), " bytes");
  Log(Collective::kAllGather, out);
}

void PlanCommunicator::ReduceScatterPartsSum(TensorView out, ConstTensorView in) {
  LIQUID_CHECK(in.NumBytes() == out.NumBytes() * size_, "parts of ", out.NumBytes(), " bytes");
  Log(Collective::kReduceScatter, in);
}

std::unique_ptr<GangCommunicator> PlanCommunicator::Split(int /*color*/) {
  LIQUID_CHECK(false, "a planned group cannot be split");
  return nullptr;
}

void PlanCommunicator::Log(Collective collective, const ConstTensorView& whole) {
  if (size_ == 1 || log_ == nullptr) return;
  log_->Add(
      {.collective = collective, .size = size_, .stride = stride_, .bytes = whole.NumBytes()});
}

}  // namespace liquid
