#include "checkpoint/export.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/adapter_deltas.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/json_document.h"
#include "checkpoint/manifest.h"
#include "checkpoint/parallel_loop.h"
#include "checkpoint/plan.h"
#include "checkpoint/verify.h"
#include "checkpoint/weight_names.h"
#include "checkpoint/writer.h"
#include "nlohmann/json.hpp"

namespace liquid {
namespace {

// Elements [begin, end) of `source`, and what `deltas` (or null) adds to them, cast to `dtype`, at
// `out`.
void Cast(const TensorRef& source, const AdapterDeltas* deltas, DType dtype, int64_t begin,
          int64_t end, std::byte* out) {
  const DType stored = source.spec().dtype;
  const std::byte* bytes = source.bytes().data() + begin * SizeOf(stored);
  const int64_t count = end - begin;
  const bool is_adapted = deltas != nullptr && deltas->Has(source.spec().name);
  if (stored == dtype && !is_adapted) {
    std::memcpy(out, bytes, static_cast<size_t>(count * SizeOf(dtype)));
    return;
  }
  std::vector<float> values(static_cast<size_t>(count));
  ConvertToF32(stored, bytes, count, values.data());
  if (is_adapted) {
    deltas->AddTo(source.spec().name, source.spec().shape.back(), begin, end,
                  absl::MakeSpan(values));
  }
  if (dtype == DType::kF32) {
    std::memcpy(out, values.data(), values.size() * sizeof(float));
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = RoundToBf16(values[i]);
    std::memcpy(out + 2 * i, &bits, sizeof(bits));
  }
}

class Exporter {
 public:
  // `base`: where tensors are that `source` has not; or null. `deltas`: what is added; or null.
  Exporter(const WeightSource& source, const WeightSource* base, const AdapterDeltas* deltas,
           const CheckpointPlan& plan, std::string directory)
      : source_(source),
        base_(base),
        deltas_(deltas),
        plan_(plan),
        directory_(std::move(directory)) {}

  absl::Status WriteWeights(int num_threads) {
    std::vector<File> files;
    for (const PlannedFile& planned : plan_.files) {
      LIQUID_ASSIGN_OR_RETURN(File file, File::Create(JoinPath(directory_, planned.name)));
      LIQUID_RETURN_IF_ERROR(file.Reserve(planned.layout.file_size));
      const std::string& header = planned.layout.header;
      LIQUID_RETURN_IF_ERROR(file.WriteAt(0, header.data(), header.size()));
      files.push_back(std::move(file));
    }
    const auto write_piece = [&](int64_t i) {
      const Piece& piece = plan_.pieces[static_cast<size_t>(i)];
      return WritePiece(piece, files[static_cast<size_t>(piece.file)]);
    };
    LIQUID_RETURN_IF_ERROR(ParallelLoopUntilError(
        num_threads, static_cast<int64_t>(plan_.pieces.size()), /*stop=*/nullptr, write_piece));
    for (File& file : files) LIQUID_RETURN_IF_ERROR(file.Sync());
    if (files.size() < 2) return absl::OkStatus();
    return WriteFile(JoinPath(directory_, "model.safetensors.index.json"),
                     MakeIndexJson(plan_, 0, plan_.num_model_files));
  }

  absl::Status CopyCompanions(const std::string& from, std::optional<DType> dtype) {
    for (const CompanionFile& companion : FindCompanionFiles(JoinPath(from, "config.json"), from)) {
      LIQUID_ASSIGN_OR_RETURN(std::string content, ReadFile(companion.source));
      if (companion.name == "config.json" && dtype.has_value()) {
        auto config = nlohmann::ordered_json::parse(content, nullptr, /*allow_exceptions=*/false);
        if (!config.is_object()) {
          return absl::InvalidArgumentError(absl::StrCat(companion.source, " is no JSON object"));
        }
        // Newer configurations say `dtype`.
        const char* key = config.contains("dtype") ? "dtype" : "torch_dtype";
        config[key] = *dtype == DType::kBF16 ? "bfloat16" : "float32";
        content = config.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
      }
      LIQUID_RETURN_IF_ERROR(WriteFile(JoinPath(directory_, companion.name), content));
    }
    return SyncDirectory(directory_);
  }

  absl::Status CopyFiles(const std::vector<CompanionFile>& files) {
    for (const CompanionFile& file : files) {
      LIQUID_ASSIGN_OR_RETURN(const std::string content, file.Read());
      LIQUID_RETURN_IF_ERROR(WriteFile(JoinPath(directory_, file.name), content));
    }
    return SyncDirectory(directory_);
  }

 private:
  absl::Status WritePiece(const Piece& piece, File& file) const {
    const StoredTensor& tensor = plan_.TensorOf(piece);
    auto found = source_.Find(tensor.spec.name);
    if (!found.ok() && base_ != nullptr) found = base_->Find(tensor.spec.name);
    LIQUID_ASSIGN_OR_RETURN(const TensorRef source, std::move(found));
    const int64_t first = plan_.FirstByte(piece);
    const int64_t num_bytes = plan_.NumBytes(piece);
    const int64_t element = SizeOf(tensor.spec.dtype);
    std::vector<std::byte> bytes(static_cast<size_t>(num_bytes));
    Cast(source, deltas_, tensor.spec.dtype, first / element, (first + num_bytes) / element,
         bytes.data());
    return file.WriteAt(tensor.begin + first, bytes.data(), bytes.size());
  }

  const WeightSource& source_;
  const WeightSource* const base_;
  const AdapterDeltas* const deltas_;
  const CheckpointPlan& plan_;
  const std::string directory_;
};

// Whether a tensor of a base is one that `source` has too, or does without: a tied head.
bool IsKnown(const WeightSource& source, const std::string& name) {
  if (source.Find(name).ok() || name.ends_with("lm_head.weight")) return true;
  const std::vector<std::string> others = OtherSpellings(name);
  return std::any_of(others.begin(), others.end(),
                     [&](const std::string& other) { return source.Find(other).ok(); });
}

// Of the tensors of `source`, and of those of `base`, if there is one, that `source` lacks.
std::vector<TensorSpec> SpecsOf(const WeightSource& source, const std::optional<WeightSource>& base,
                                std::optional<DType> dtype) {
  std::vector<TensorSpec> specs;
  for (const TensorRef& tensor : source.tensors()) specs.push_back(tensor.spec());
  if (base.has_value()) {
    for (const TensorRef& tensor : base->tensors()) {
      if (!IsKnown(source, tensor.spec().name)) specs.push_back(tensor.spec());
    }
  }
  for (TensorSpec& spec : specs) {
    if (dtype.has_value() && IsWeightDType(spec.dtype)) spec.dtype = *dtype;
  }
  return specs;
}

absl::Status RefuseDamage(const std::string& directory, int num_threads) {
  if (!FileExists(JoinPath(directory, kManifestName))) return absl::OkStatus();
  LIQUID_ASSIGN_OR_RETURN(const VerifyReport report, VerifyDirectory(directory, num_threads));
  if (report.problems.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(JoinPath(directory, report.problems.front().ToString()),
                                          " (of ", report.problems.size(),
                                          " problems; nothing was written)"));
}

// Of options.adapters, which fit the model in `directory`.
absl::StatusOr<AdapterDeltas> OpenDeltas(const std::string& directory, const WeightSource& source,
                                         const ExportOptions& options) {
  LIQUID_RETURN_IF_ERROR(RefuseDamage(options.adapters, options.num_threads));
  LIQUID_ASSIGN_OR_RETURN(AdapterDeltas deltas, AdapterDeltas::Open(options.adapters));
  LIQUID_ASSIGN_OR_RETURN(const nlohmann::json config,
                          ReadJsonDocument(JoinPath(directory, "config.json"), 1 << 24));
  const bool input_major = config.is_object() && config.value("model_type", "") == "gpt2";
  LIQUID_RETURN_IF_ERROR(deltas.CheckFits(source, input_major));
  return deltas;
}

absl::Status RefuseFullDisk(const std::string& parent, const std::string& out, int64_t needed) {
  LIQUID_ASSIGN_OR_RETURN(const int64_t free, FreeBytes(parent));
  if (needed <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("no space for ", out, ": needs ", needed, " bytes, free ", free));
}

}  // namespace

uint16_t RoundToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

absl::StatusOr<ExportReport> ExportModel(const std::string& directory, const std::string& out,
                                         const ExportOptions& options) {
  if (FileExists(out)) {
    return absl::AlreadyExistsError(
        absl::StrCat(out, " is there already: give another name, or remove it"));
  }
  LIQUID_RETURN_IF_ERROR(RefuseDamage(directory, options.num_threads));
  LIQUID_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::Open(directory));
  std::optional<WeightSource> base;
  if (!options.base.empty()) {
    LIQUID_ASSIGN_OR_RETURN(base, WeightSource::Open(options.base));
  }
  std::optional<AdapterDeltas> deltas;
  if (!options.adapters.empty()) {
    LIQUID_ASSIGN_OR_RETURN(deltas, OpenDeltas(directory, source, options));
  }
  const std::vector<TensorSpec> specs = SpecsOf(source, base, options.dtype);
  LIQUID_ASSIGN_OR_RETURN(const CheckpointPlan plan,
                          MakeCheckpointPlan(specs, {}, options.max_shard_bytes));
  const std::string absolute = AbsolutePath(out);
  const std::string parent = std::filesystem::path(absolute).parent_path().string();
  LIQUID_RETURN_IF_ERROR(MakeDirectories(parent));
  LIQUID_RETURN_IF_ERROR(RefuseFullDisk(parent, out, plan.num_bytes));
  const std::string temporary = absl::StrCat(absolute, ".tmp-", getpid());
  const auto write = [&]() -> absl::Status {
    LIQUID_RETURN_IF_ERROR(MakeDirectories(temporary));
    Exporter exporter(source, base.has_value() ? &*base : nullptr,
                      deltas.has_value() ? &*deltas : nullptr, plan, temporary);
    LIQUID_RETURN_IF_ERROR(exporter.WriteWeights(options.num_threads));
    LIQUID_RETURN_IF_ERROR(exporter.CopyCompanions(directory, options.dtype));
    if (!options.adapters.empty()) {  // what they were trained with counts
      LIQUID_RETURN_IF_ERROR(exporter.CopyFiles(FindCompanionFiles("", options.adapters)));
    }
    LIQUID_RETURN_IF_ERROR(Rename(temporary, absolute));
    return SyncDirectory(parent);
  };
  if (const absl::Status status = write(); !status.ok()) {
    static_cast<void>(RemoveRecursively(temporary));
    return status;
  }
  return ExportReport{static_cast<int64_t>(plan.files.size()), static_cast<int64_t>(specs.size()),
                      plan.num_bytes};
}

}  // namespace liquid
