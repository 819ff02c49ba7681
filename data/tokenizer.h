// Text to token ids and back, as a Hugging Face tokenizer.json says.
#ifndef LIQUID_DATA_TOKENIZER_H_
#define LIQUID_DATA_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/aligned_text.h"

namespace liquid {

// Constant after it is made: any thread may call any method at any time.
class Tokenizer {
 public:
  struct EncodeOptions {
    // Puts the tokens around the text that the file's post-processor asks for, as BOS.
    bool add_special_tokens = false;
  };

  // Reads `directory`/tokenizer.json. Whatever is in it and not implemented is refused:
  // InvalidArgument "FILE: JSON.PATH: what". NotFound if there is no such file.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  // The same from the text of such a file. `path` stands in errors only.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(std::string_view json,
                                                             const std::string& path);
  ~Tokenizer();

  // Appends the tokens of `text` to `*ids`. Tokens that the file adds, special ones too, are
  // recognized in the text. What is no UTF-8 counts as U+FFFD, one for each maximal subpart. The
  // text must be shorter than 2 GiB.
  void Encode(std::string_view text, std::vector<int32_t>* ids) const {
    Encode(text, EncodeOptions(), ids);
  }
  void Encode(std::string_view text, const EncodeOptions& options, std::vector<int32_t>* ids) const;

  // As Encode, and appends to `*ranges` for every id the bytes of `text` that it came from, made to
  // end at whole characters: the tokens of one character all have its range. Empty for tokens that
  // come from no text. Ranges ascend, but may overlap.
  void EncodeWithOffsets(std::string_view text, const EncodeOptions& options,
                         std::vector<int32_t>* ids, std::vector<ByteRange>* ranges) const;

  // The text of `ids`: valid UTF-8, with U+FFFD for bytes that are not. Ids that do not exist are
  // left out, and special tokens if asked.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const;

  std::optional<int32_t> TokenToId(std::string_view token) const;
  // As it stands in the file (byte-level alphabet); "" if there is no such id.
  std::string IdToToken(int32_t id) const;
  // Highest id + 1, added tokens included.
  int32_t vocab_size() const;
  bool is_special(int32_t id) const;

 private:
  struct Parts;
  struct Scratch;
  class ScratchLease;
  explicit Tokenizer(std::unique_ptr<Parts> parts);
  void EncodeValid(const TextSpan& text, const EncodeOptions& options, std::vector<int32_t>* ids,
                   std::vector<ByteRange>* ranges) const;
  void EncodeSegment(const TextSpan& segment, std::vector<int32_t>* ids,
                     std::vector<ByteRange>* ranges, ScratchLease* lease) const;

  std::unique_ptr<Parts> parts_;
};

// Decodes ids one by one, for showing text as it is generated: gives what is complete, so that no
// character is ever shown in halves. All pieces joined are Decode() of all ids, except that a run
// of byte tokens that turns out to be no UTF-8 is judged piece by piece. One thread at a time.
class StreamDecoder {
 public:
  // `tokenizer` must outlive this.
  StreamDecoder(const Tokenizer* tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

  // The text that `id` completes; often empty.
  std::string Add(int32_t id);
  // What is still held back. Call it once, at the end.
  std::string Finish();

 private:
  std::string Take(bool all);

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;  // those of the last piece given, as context, and those held back
  size_t num_context_ = 0;    // how many of them are context
};

}  // namespace liquid

#endif  // LIQUID_DATA_TOKENIZER_H_
