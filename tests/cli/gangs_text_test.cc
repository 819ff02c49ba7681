#include "cli/gangs_text.h"

#include "gmock/gmock.h"

namespace liquid {
namespace {

using ::testing::ElementsAre;

GangStatus GangOf(int64_t number, const std::string& host, GangStatus::Phase phase, double speed) {
  GangStatus gang;
  gang.set_gang(number);
  gang.set_host(host);
  gang.set_name(host + ":12");
  gang.set_num_ranks(2);
  gang.set_phase(phase);
  gang.set_applied_step(phase == GangStatus::JOINING ? -1 : 41);
  gang.set_slots_per_second(speed);
  gang.set_slots_done(300);
  return gang;
}

JobStatus ThreeGangs() {
  JobStatus status;
  *status.add_gangs() = GangOf(1, "node1", GangStatus::WORKING, 3);
  *status.add_gangs() = GangOf(4, "node-with-a-name", GangStatus::WORKING, 1);
  *status.add_gangs() = GangOf(10, "n3", GangStatus::JOINING, 0);
  return status;
}

TEST(GangsText, LinesUpWhatIsKnown) {
  EXPECT_EQ(GangsText(ThreeGangs()),
            "gang  name                 host              phase    ranks  step  slots/s  share  "
            "slots done\n"
            "   1  node1:12             node1             working      2    41     3.00    75%  "
            "       300\n"
            "   4  node-with-a-name:12  node-with-a-name  working      2    41     1.00    25%  "
            "       300\n"
            "  10  n3:12                n3                joining      2     -        -      -  "
            "       300");
  EXPECT_EQ(GangsText(JobStatus()), "no gang is there");
}

TEST(GangsText, SharesAreOfThoseThatWork) {
  JobStatus status = ThreeGangs();
  EXPECT_THAT(SharesOf(status), ElementsAre(0.75, 0.25, 0));
  status.mutable_gangs(1)->set_phase(GangStatus::DRAINING);
  EXPECT_THAT(SharesOf(status), ElementsAre(1, 0, 0));
  status.mutable_gangs(0)->set_slots_per_second(0);
  EXPECT_THAT(SharesOf(status), ElementsAre(0, 0, 0));
}

TEST(GangsText, JsonHasAllOfIt) {
  const nlohmann::ordered_json json = GangsToJson(ThreeGangs());
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[0]["gang"], 1);
  EXPECT_EQ(json[0]["phase"], "working");
  EXPECT_EQ(json[0]["share"], 0.75);
  EXPECT_EQ(json[2]["phase"], "joining");
  EXPECT_EQ(json[2]["applied_step"], -1);
  EXPECT_EQ(PhaseName(GangStatus::SILENT), "silent");
}

}  // namespace
}  // namespace liquid
