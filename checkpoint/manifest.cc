#include "checkpoint/manifest.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/checksum.h"
#include "checkpoint/json_document.h"
#include "checkpoint/safetensors.h"

namespace liquid {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "liquid-checkpoint";
constexpr int64_t kVersion = 1;
constexpr int64_t kMaxManifestBytes = 1 << 30;
constexpr std::string_view kChecksumKey = ",\n \"checksum\": \"";
constexpr std::string_view kEnd = "\"\n}\n";
constexpr size_t kTailBytes = 32 + kEnd.size();  // the checksum and what closes the text

Json ToJson(const std::vector<Hash128>& hashes) {
  Json list = Json::array();
  for (const Hash128& hash : hashes) list.push_back(ToHex(hash));
  return list;
}

Json ToJson(const ManifestTensorFile& file) {
  Json tensors = Json::array();
  for (const ManifestTensor& tensor : file.tensors) {
    tensors.push_back({{"name", tensor.name}, {"pieces", ToJson(tensor.pieces)}});
  }
  return {{"name", file.name},
          {"num_bytes", file.num_bytes},
          {"checksum", ToHex(file.checksum)},
          {"header", ToHex(file.header)},
          {"tensors", std::move(tensors)}};
}

// Reads the members of one object, strictly: all are needed, none else may be there. The first
// error is kept in `error` and everything after it is ignored.
class Members {
 public:
  Members(const nlohmann::json& object, std::string where, absl::Status& error)
      : object_(object), where_(std::move(where)), error_(error) {
    if (!object_.is_object()) Fail("must be an object");
  }

  std::string Text(const char* key) {
    const nlohmann::json* value = Get(key);
    const auto* text = value == nullptr ? nullptr : value->get_ptr<const std::string*>();
    if (text == nullptr) return Fail(key, " must be a text"), "";
    return *text;
  }
  int64_t Count(const char* key) {
    const uint64_t value = Unsigned(key);
    if (value > INT64_MAX) Fail(key, " is too large");
    return static_cast<int64_t>(value);
  }
  uint64_t Unsigned(const char* key) {
    const nlohmann::json* value = Get(key);
    const auto* number = value == nullptr ? nullptr : value->get_ptr<const uint64_t*>();
    if (number == nullptr) return Fail(key, " must be a whole number, not negative"), 0;
    return *number;
  }
  std::optional<double> OptionalNumber(const char* key) {
    if (!object_.is_object() || !object_.contains(key)) return std::nullopt;
    const nlohmann::json& value = *Get(key);
    if (!value.is_number()) return Fail(key, " must be a number"), std::nullopt;
    return value.get<double>();
  }
  Hash128 Hash(const char* key) {
    Hash128 hash;
    if (!FromHex(Text(key), &hash)) Fail(key, " must be 32 hexadecimal digits");
    return hash;
  }
  // The name of a file in the directory.
  std::string FileName(const char* key) {
    std::string name = Text(key);
    const bool is_plain = !name.empty() && name[0] != '.' && name != kManifestName &&
                          name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    if (!is_plain) Fail(key, " ", QuoteName(name), " must be a plain file name");
    return name;
  }
  const nlohmann::json& List(const char* key) {
    static const nlohmann::json& empty = *new nlohmann::json(nlohmann::json::array());
    const nlohmann::json* value = Get(key);
    if (value == nullptr || !value->is_array()) return Fail(key, " must be a list"), empty;
    return *value;
  }
  // After all members were read.
  void Done() {
    if (object_.size() > num_read_) Fail("has members that this version does not know");
  }

  template <typename... Args>
  void Fail(const Args&... args) {
    if (!error_.ok()) return;
    error_ = absl::InvalidArgumentError(absl::StrCat(where_, ": ", args...));
  }

 private:
  const nlohmann::json* Get(const char* key) {
    ++num_read_;
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(key);
    return it == object_.end() ? nullptr : &*it;
  }

  const nlohmann::json& object_;
  std::string where_;
  absl::Status& error_;
  size_t num_read_ = 0;
};

TrainingState ParseState(const nlohmann::json& json, const std::string& path, absl::Status& error) {
  Members members(json, absl::StrCat(path, ": state"), error);
  TrainingState state;
  state.step = members.Count("step");
  state.stream_position = members.Count("stream_position");
  state.epoch = members.Count("epoch");
  state.seed = members.Unsigned("seed");
  state.job = members.Text("job");
  state.job_digest = members.Text("job_digest");
  state.dataset_digest = members.Text("dataset_digest");
  state.code_version = members.Text("code_version");
  state.ledger_head = members.Text("ledger_head");
  state.weights_fingerprint = members.Hash("weights_fingerprint");
  state.eval_loss = members.OptionalNumber("eval_loss");
  state.eval_accuracy = members.OptionalNumber("eval_accuracy");
  state.parent = members.Text("parent");
  state.parent_manifest = members.Text("parent_manifest");
  members.Done();
  return state;
}

ManifestTensorFile ParseTensorFile(const nlohmann::json& json, const std::string& path,
                                   absl::Status& error) {
  Members members(json, absl::StrCat(path, ": tensor_files"), error);
  ManifestTensorFile file;
  file.name = members.FileName("name");
  file.num_bytes = members.Count("num_bytes");
  file.checksum = members.Hash("checksum");
  file.header = members.Hash("header");
  for (const nlohmann::json& entry : members.List("tensors")) {
    Members tensor_members(entry, absl::StrCat(path, ": tensors of ", file.name), error);
    ManifestTensor tensor;
    tensor.name = tensor_members.Text("name");
    for (const nlohmann::json& piece : tensor_members.List("pieces")) {
      const auto* hex = piece.get_ptr<const std::string*>();
      if (hex == nullptr || !FromHex(*hex, &tensor.pieces.emplace_back())) {
        tensor_members.Fail("a piece must be 32 hexadecimal digits");
      }
    }
    tensor_members.Done();
    file.tensors.push_back(std::move(tensor));
  }
  members.Done();
  if (error.ok() && file.checksum != TensorFileChecksum(file)) {
    members.Fail("the checksum of ", file.name, " is not that of its parts");
  }
  return file;
}

ManifestPlainFile ParsePlainFile(const nlohmann::json& json, const std::string& path,
                                 absl::Status& error) {
  Members members(json, absl::StrCat(path, ": plain_files"), error);
  ManifestPlainFile file;
  file.name = members.FileName("name");
  file.num_bytes = members.Count("num_bytes");
  file.checksum = members.Hash("checksum");
  members.Done();
  return file;
}

absl::Status CheckUniqueNames(const Manifest& manifest, const std::string& path) {
  std::set<std::string> files;
  std::set<std::string> tensors;
  for (const ManifestPlainFile& file : manifest.plain_files) {
    if (files.insert(file.name).second) continue;
    return absl::InvalidArgumentError(absl::StrCat(path, ": the file ", file.name, " twice"));
  }
  for (const ManifestTensorFile& file : manifest.tensor_files) {
    if (!files.insert(file.name).second) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": the file ", file.name, " twice"));
    }
    for (const ManifestTensor& tensor : file.tensors) {
      if (tensors.insert(tensor.name).second) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": the tensor ", QuoteName(tensor.name), " twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string WriteManifest(const Manifest& manifest) {
  const TrainingState& state = manifest.state;
  Json tensor_files = Json::array();
  for (const ManifestTensorFile& file : manifest.tensor_files) tensor_files.push_back(ToJson(file));
  Json plain_files = Json::array();
  for (const ManifestPlainFile& file : manifest.plain_files) {
    plain_files.push_back(
        {{"name", file.name}, {"num_bytes", file.num_bytes}, {"checksum", ToHex(file.checksum)}});
  }
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"state",
                {{"step", state.step},
                 {"stream_position", state.stream_position},
                 {"epoch", state.epoch},
                 {"seed", state.seed},
                 {"job", state.job},
                 {"job_digest", state.job_digest},
                 {"dataset_digest", state.dataset_digest},
                 {"code_version", state.code_version},
                 {"ledger_head", state.ledger_head},
                 {"weights_fingerprint", ToHex(state.weights_fingerprint)},
                 {"parent", state.parent},
                 {"parent_manifest", state.parent_manifest}}},
               {"tensor_files", std::move(tensor_files)},
               {"plain_files", std::move(plain_files)}};
  if (state.eval_loss.has_value()) json["state"]["eval_loss"] = *state.eval_loss;
  if (state.eval_accuracy.has_value()) json["state"]["eval_accuracy"] = *state.eval_accuracy;
  std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace);
  LIQUID_CHECK(text.ends_with("\n}"));
  text.resize(text.size() - 2);
  text += kChecksumKey;
  text += ToHex(HashBytes(text));
  text += kEnd;
  return text;
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text, const std::string& path) {
  Hash128 checksum;
  const std::string_view body = text.substr(0, text.size() - std::min(text.size(), kTailBytes));
  if (!body.ends_with(kChecksumKey) || !text.ends_with(kEnd) ||
      !FromHex(text.substr(body.size(), 32), &checksum) || checksum != HashBytes(body)) {
    return absl::DataLossError(
        absl::StrCat(path, " is damaged: its checksum does not fit its ", text.size(), " bytes"));
  }
  LIQUID_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonDocument(text, path));
  absl::Status error;
  Members members(json, path, error);
  if (members.Text("format") != kFormat) members.Fail("not a ", absl::string_view(kFormat.data()));
  const int64_t version = members.Count("version");
  if (version != kVersion) {
    members.Fail("version ", version, "; this program reads version ", kVersion);
  }
  members.Text("checksum");
  if (!error.ok()) return error;

  Manifest manifest;
  if (!json.contains("state")) members.Fail("state is missing");
  if (!error.ok()) return error;
  manifest.state = ParseState(json.at("state"), path, error);
  for (const nlohmann::json& file : members.List("tensor_files")) {
    manifest.tensor_files.push_back(ParseTensorFile(file, path, error));
  }
  for (const nlohmann::json& file : members.List("plain_files")) {
    manifest.plain_files.push_back(ParsePlainFile(file, path, error));
  }
  if (json.size() != 6) members.Fail("has members that this version does not know");
  if (!error.ok()) return error;
  LIQUID_RETURN_IF_ERROR(CheckUniqueNames(manifest, path));
  return manifest;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& directory) {
  const std::string path = JoinPath(directory, kManifestName);
  LIQUID_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (static_cast<int64_t>(file.text().size()) > kMaxManifestBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has ", file.text().size(),
                                                   " bytes; the limit is ", kMaxManifestBytes));
  }
  return ParseManifest(file.text(), path);
}

std::string ManifestDigest(Manifest manifest) {
  TrainingState& state = manifest.state;
  for (std::string* lineage :
       {&state.code_version, &state.ledger_head, &state.parent, &state.parent_manifest}) {
    lineage->clear();
  }
  state.eval_loss.reset();
  state.eval_accuracy.reset();
  return Sha256Hex(WriteManifest(manifest));
}

Hash128 TensorFileChecksum(const ManifestTensorFile& file) {
  std::vector<Hash128> hashes = {file.header};
  for (const ManifestTensor& tensor : file.tensors) hashes.push_back(CombineHashes(tensor.pieces));
  return CombineHashes(hashes);
}

}  // namespace liquid
