// Reads a tokenizer.json into its parts: the vocabulary and the merges as tables, the rest as JSON.
#ifndef LIQUID_DATA_TOKENIZER_FILE_H_
#define LIQUID_DATA_TOKENIZER_FILE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/bpe.h"
#include "data/vocabulary.h"
#include "nlohmann/json.hpp"

namespace liquid {

struct TokenizerFile {
  Vocabulary vocabulary;
  std::vector<BpeMerge> merges;
  BpeModel::Options model;  // all but byte_level, which the pre-tokenizer says
  nlohmann::json added_tokens;
  nlohmann::json normalizer;
  nlohmann::json pre_tokenizer;
  nlohmann::json post_processor;
  nlohmann::json decoder;
};

// Parses the text of a tokenizer.json. Only models of type BPE are known. Every error is
// InvalidArgument and says where: "line 3, column 7" for bad JSON, "model.merges[4]" otherwise.
// "truncation" and "padding" are left out on purpose: batches are made elsewhere.
absl::StatusOr<TokenizerFile> ParseTokenizerFile(std::string_view text);

}  // namespace liquid

#endif  // LIQUID_DATA_TOKENIZER_FILE_H_
