// What follows from an evaluation, for people.
#ifndef LIQUID_PROTO_EVAL_REPORT_H_
#define LIQUID_PROTO_EVAL_REPORT_H_

#include <string>

#include "proto/coordinator.pb.h"

namespace liquid {

// e^loss.
double Perplexity(const EvalReport& report);
// Correct targets of all, 0 .. 1; 0 without any target.
double Accuracy(const EvalReport& report);

// "loss 2.1304, perplexity 8.42, accuracy 54.3%".
std::string EvalText(const EvalReport& report);

}  // namespace liquid

#endif  // LIQUID_PROTO_EVAL_REPORT_H_
