#include "model/continuation.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "model/weights.h"
#include "tests/model/model_on_device.h"
#include "tests/model/tiny_config.h"

namespace liquid {
namespace {

using ::liquid::testing::ModelOnDevice;
using ::liquid::testing::OwnedBatch;
using ::liquid::testing::PackedRow;
using ::testing::ElementsAre;

const std::vector<int32_t> kPrompt = {3, 14, 15, 9, 26};

class ContinuationTest : public ::testing::Test {
 protected:
  ContinuationTest() : it_(*ModelOnDevice::Create(testing::TinyConfig(Family::kLlama))) {
    InitializeWeights(5, *it_.model);
  }

  std::vector<int32_t> Go(const ContinuationOptions& options, Continuation* result,
                          int64_t most = 100) {
    std::vector<int32_t> tokens;
    *result = Continue(*it_.model, kPrompt, options, [&](int32_t token) {
      tokens.push_back(token);
      return static_cast<int64_t>(tokens.size()) < most;
    });
    return tokens;
  }

  ModelOnDevice it_;
};

TEST_F(ContinuationTest, EachTokenIsTheLikeliestBehindAllBeforeIt) {
  Continuation result;
  const std::vector<int32_t> tokens = Go({.max_tokens = 8}, &result);
  ASSERT_EQ(tokens.size(), 8u);
  EXPECT_EQ(result.num_tokens, 8);
  EXPECT_FALSE(result.ended);
  std::vector<int32_t> seen = kPrompt;
  const int64_t vocabulary = it_.model->config().vocab_size;
  for (const int32_t token : tokens) {
    const std::vector<float> logits = it_.model->Inspect(PackedRow({seen}).view()).logits;
    const auto last = logits.end() - vocabulary;
    EXPECT_EQ(token, std::max_element(last, logits.end()) - last);
    seen.push_back(token);
  }
}

TEST_F(ContinuationTest, EndsAtAStopTokenOrWhenItIsTold) {
  Continuation result;
  const std::vector<int32_t> all = Go({.max_tokens = 8}, &result);
  const auto third = std::find(all.begin(), all.end(), all[2]) - all.begin();
  const std::vector<int32_t> stopped = Go({.max_tokens = 8, .stop_tokens = {all[2]}}, &result);
  EXPECT_TRUE(result.ended);
  EXPECT_EQ(result.num_tokens, third + 1);
  EXPECT_EQ(stopped, std::vector<int32_t>(all.begin(), all.begin() + third));
  EXPECT_EQ(Go({.max_tokens = 8}, &result, /*most=*/2).size(), 2u);
  EXPECT_FALSE(result.ended);
  EXPECT_EQ(result.num_tokens, 2);
}

}  // namespace
}  // namespace liquid
