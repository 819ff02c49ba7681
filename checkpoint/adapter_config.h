// What a directory of low-rank adapters says of itself: adapter_config.json beside
// adapter_model.safetensors, in the layout of the PEFT library.
#ifndef LIQUID_CHECKPOINT_ADAPTER_CONFIG_H_
#define LIQUID_CHECKPOINT_ADAPTER_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace liquid {

inline constexpr std::string_view kAdapterConfigName = "adapter_config.json";
inline constexpr std::string_view kAdapterStem = "adapter_model";  // of the file of weights

// y = W x + scale B A dropout(x), A [rank,I], B [O,rank]. Source: Hu et al. 2021, arXiv:2106.09685,
// section 4.1; use_rslora: Kalajdzievski 2023, arXiv:2312.03732.
struct AdapterConfig {
  int64_t rank = 0;
  double alpha = 0;
  std::vector<std::string> target_modules = {};  // ends of module names, as PEFT compares them
  bool use_rslora = false;
  double dropout = 0;           // of what A is applied to, while training
  std::string base_model = {};  // a directory, or a name on a hub

  // alpha / rank, or alpha / sqrt(rank).
  double scale() const;
  friend bool operator==(const AdapterConfig&, const AdapterConfig&) = default;
};

// The names of the two weights beside the module `module` ("model.layers.0.self_attn.q_proj").
std::string AdapterNameA(std::string_view module);
std::string AdapterNameB(std::string_view module);
// The other way: the module; empty if `name` is no name of an A.
std::string ModuleOfAdapterA(std::string_view name);

// The modules that have adapters among tensors of these names. InvalidArgument names one that is
// not of an adapter: what else was trained would be lost.
absl::StatusOr<std::vector<std::string>> ModulesOfAdapters(const std::vector<std::string>& tensors,
                                                           const std::string& directory);

// The text of adapter_config.json.
std::string WriteAdapterConfig(const AdapterConfig& config);

// `directory` holds adapters.
bool HasAdapterConfig(const std::string& directory);

// NotFound: no such file. InvalidArgument: it is not one of LoRA, or asks for what is not
// supported, by name. target_modules are left out: the weights tell them.
absl::StatusOr<AdapterConfig> ReadAdapterConfig(const std::string& directory);

}  // namespace liquid

#endif  // LIQUID_CHECKPOINT_ADAPTER_CONFIG_H_
