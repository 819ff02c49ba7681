#include "tensor/tensor.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace liquid {

std::string Shape::ToString() const { return absl::StrCat("[", absl::StrJoin(*this, ","), "]"); }

}  // namespace liquid
