#include "base/host_address.h"

#include "gtest/gtest.h"

namespace liquid {
namespace {

TEST(HostAddress, TakesTheHostOffTheEnd) {
  EXPECT_EQ(HostOf("node1:80"), "node1");
  EXPECT_EQ(HostOf("[::1]:0"), "::1");
  EXPECT_EQ(HostOf("0.0.0.0:5"), "0.0.0.0");
  EXPECT_EQ(HostOf("node1"), "");
}

TEST(HostAddress, TellsOneMachineFromAllInterfaces) {
  for (const char* host : {"localhost", "127.0.0.1", "127.9.9.9", "::1"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
    EXPECT_FALSE(IsAnyAddress(host)) << host;
  }
  for (const char* host : {"0.0.0.0", "::", "*"}) {
    EXPECT_TRUE(IsAnyAddress(host)) << host;
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
  EXPECT_FALSE(IsLoopback("10.0.0.1"));
  EXPECT_FALSE(IsAnyAddress("10.0.0.1"));
}

TEST(HostAddress, OthersCanDialIt) {
  const std::string address = OutgoingAddress();
  EXPECT_FALSE(address.empty());
  EXPECT_FALSE(IsAnyAddress(address));
  EXPECT_FALSE(HostName().empty());
}

}  // namespace
}  // namespace liquid
