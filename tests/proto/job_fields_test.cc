#include "proto/job_fields.h"

#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "proto/job.pb.h"

namespace liquid {
namespace {

int CountFields(const google::protobuf::Descriptor& descriptor, const std::string& prefix) {
  int count = 0;
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const auto& field = *descriptor.field(i);
    if (field.message_type() != nullptr) {
      count += CountFields(*field.message_type(), prefix + field.name() + ".");
      continue;
    }
    EXPECT_NE(FindJobField(prefix + field.name()), nullptr) << prefix << field.name();
    ++count;
  }
  return count;
}

TEST(JobFieldsTest, NameEveryFieldOfTheMessageOnce) {
  EXPECT_EQ(CountFields(*Job::descriptor(), ""), static_cast<int>(JobFields().size()));
}

TEST(JobFieldsTest, ReadSizes) {
  const std::vector<std::pair<std::string, int64_t>> cases = {{"0", 0},
                                                              {"17", 17},
                                                              {"5GB", 5000000000},
                                                              {"5 GB", 5000000000},
                                                              {"1.5kB", 1500},
                                                              {"2KiB", 2048},
                                                              {"3MiB", 3145728},
                                                              {"1GiB", 1073741824},
                                                              {"2tb", 2000000000000},
                                                              {"7B", 7}};
  for (const auto& [text, bytes] : cases) {
    int64_t parsed = -1;
    EXPECT_TRUE(ParseBytes(text, &parsed)) << text;
    EXPECT_EQ(parsed, bytes) << text;
  }
  for (const std::string text :
       {"", "GB", "-1", "5 apples", "1e3", "1..2MB", "99999999TB", "5GBB"}) {
    int64_t parsed = -1;
    EXPECT_FALSE(ParseBytes(text, &parsed)) << text;
  }
}

TEST(JobFieldsTest, GuessOnlyWhatIsNear) {
  const std::vector<std::string> names = {"training", "data", "model"};
  EXPECT_EQ(DidYouMean("trainning", names), "training");
  EXPECT_EQ(DidYouMean("date", names), "data");
  EXPECT_EQ(DidYouMean("banana", names), "");
  EXPECT_EQ(DidYouMean("epoc", {"seed", "epochs"}), "epochs");
}

}  // namespace
}  // namespace liquid
