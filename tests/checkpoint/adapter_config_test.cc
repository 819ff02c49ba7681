#include "checkpoint/adapter_config.h"

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "gmock/gmock.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

class AdapterConfigTest : public ::testing::Test {
 protected:
  AdapterConfigTest() {
    char path[] = "/tmp/liquid-adapter-config-XXXXXX";
    if (mkdtemp(path) != nullptr) directory_ = path;
  }
  ~AdapterConfigTest() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<AdapterConfig> Read(const std::string& text) const {
    EXPECT_THAT(WriteFile(directory_ + "/adapter_config.json", text), IsOk());
    return ReadAdapterConfig(directory_);
  }

  std::string directory_;
};

TEST_F(AdapterConfigTest, ReadsWhatItWrites) {
  const AdapterConfig config = {.rank = 8,
                                .alpha = 32,
                                .target_modules = {"q_proj", "v_proj"},
                                .use_rslora = true,
                                .dropout = 0.25,
                                .base_model = "models/\"base\""};
  AdapterConfig expected = config;
  expected.target_modules.clear();  // the weights tell them
  const auto read = Read(WriteAdapterConfig(config));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(*read, expected);
}

TEST_F(AdapterConfigTest, RefusesByNameWhatItDoesNotKnow) {
  const auto refused = [this](const std::string& text, const std::string& what) {
    EXPECT_THAT(Read(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what))) << text;
  };
  const std::string sound = R"("peft_type": "LORA", "r": 4, "lora_alpha": 8)";
  EXPECT_THAT(Read("{" + sound + "}"), IsOk());
  EXPECT_THAT(Read("{" + sound + R"(, "use_dora": false, "rank_pattern": {}, "bias": "none"})"),
              IsOk());
  refused("[]", "is no JSON object");
  refused(R"({"peft_type": "IA3"})", "only LORA");
  refused("{" + sound + R"(, "use_dora": true})", "use_dora is not supported");
  refused("{" + sound + R"(, "modules_to_save": ["lm_head"]})", "modules_to_save is not supported");
  refused("{" + sound + R"(, "rank_pattern": {"q_proj": 8}})", "rank_pattern is not supported");
  refused("{" + sound + R"(, "bias": "all"})", "bias is not supported");
  refused(R"({"peft_type": "LORA", "r": 0, "lora_alpha": 8})", "r must be");
  refused(R"({"peft_type": "LORA", "r": 2.5, "lora_alpha": 8})", "r must be");
  refused(R"({"peft_type": "LORA", "r": 4})", "lora_alpha must be");
}

TEST_F(AdapterConfigTest, TensorsThatAreNoAdaptersAreRefused) {
  const std::vector<std::string> pair = {AdapterNameA("model.layers.0.mlp.up_proj"),
                                         AdapterNameB("model.layers.0.mlp.up_proj")};
  const auto modules = ModulesOfAdapters(pair, "dir");
  ASSERT_THAT(modules, IsOk());
  EXPECT_THAT(*modules, ::testing::ElementsAre("model.layers.0.mlp.up_proj"));
  std::vector<std::string> more = pair;
  more.push_back("base_model.model.model.embed_tokens.weight");
  EXPECT_THAT(ModulesOfAdapters(more, "dir"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("dir: it holds more than adapters, such as "
                                 "base_model.model.model.embed_tokens.weight")));
  EXPECT_THAT(ModulesOfAdapters({}, "dir"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("hold no adapter")));
}

}  // namespace
}  // namespace liquid
