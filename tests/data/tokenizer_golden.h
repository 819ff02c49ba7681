// Golden cases of tokenizers, as recorded from the reference implementation.
#ifndef LIQUID_TESTS_DATA_TOKENIZER_GOLDEN_H_
#define LIQUID_TESTS_DATA_TOKENIZER_GOLDEN_H_

#include <string>

#include "data/tokenizer.h"

namespace liquid {

// Holds `tokenizer` against every line of a cases.jsonl (`text`): ids, ids with special tokens,
// decoded texts, offsets, bytes that are no UTF-8. Failures are added to the running test, ten at
// most. Returns the number of cases.
int CheckEncodeCases(const Tokenizer& tokenizer, const std::string& text);

// The same for a decode.jsonl.
int CheckDecodeCases(const Tokenizer& tokenizer, const std::string& text);

}  // namespace liquid

#endif  // LIQUID_TESTS_DATA_TOKENIZER_GOLDEN_H_
