#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace liquid {
namespace {

absl::StatusOr<CublasLt> Load() {
  const std::string name = absl::StrCat("libcublasLt.so.", CUBLAS_VER_MAJOR);
  void* const library = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);  // never closed
  if (library == nullptr) return absl::UnavailableError(dlerror());
  CublasLt functions{};
  absl::Status status;
  const auto find = [&](auto* function, const char* what) {
    const std::string symbol = absl::StrCat("cublasLt", what);
    void* const found = dlsym(library, symbol.c_str());
    if (found == nullptr) {
      status.Update(absl::UnavailableError(absl::StrCat(name, " has no ", symbol)));
    }
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(found);
  };
  find(&functions.Create, "Create");
  find(&functions.Destroy, "Destroy");
  find(&functions.GetVersion, "GetVersion");
  find(&functions.GetStatusString, "GetStatusString");
  find(&functions.Matmul, "Matmul");
  find(&functions.MatmulAlgoConfigGetAttribute, "MatmulAlgoConfigGetAttribute");
  find(&functions.MatmulAlgoGetHeuristic, "MatmulAlgoGetHeuristic");
  find(&functions.MatmulDescCreate, "MatmulDescCreate");
  find(&functions.MatmulDescDestroy, "MatmulDescDestroy");
  find(&functions.MatmulDescSetAttribute, "MatmulDescSetAttribute");
  find(&functions.MatrixLayoutCreate, "MatrixLayoutCreate");
  find(&functions.MatrixLayoutDestroy, "MatrixLayoutDestroy");
  find(&functions.MatmulPreferenceCreate, "MatmulPreferenceCreate");
  find(&functions.MatmulPreferenceDestroy, "MatmulPreferenceDestroy");
  find(&functions.MatmulPreferenceSetAttribute, "MatmulPreferenceSetAttribute");
  if (!status.ok()) return status;
  return functions;
}

}  // namespace

const absl::StatusOr<CublasLt>& LoadCublasLt() {
  static const absl::StatusOr<CublasLt>* const library = new absl::StatusOr<CublasLt>(Load());
  return *library;
}

}  // namespace liquid
