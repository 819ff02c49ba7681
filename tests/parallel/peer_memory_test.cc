#include "parallel/tcp/peer_memory.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "gtest/gtest.h"
#include "parallel/tcp/data_port.h"

namespace liquid {
namespace {

// A process at the other end of a connected Unix socket, whose memory begins as this one's.
class PeerMemoryTest : public ::testing::Test {
 protected:
  PeerMemoryTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    Socket listener = ListenUnix(name_).value();
    peer_ = fork();
    if (peer_ == 0) {
      close(ends[0]);
      std::memset(text_, 'p', sizeof(text_));  // its own copy
      DataAddress address;
      address.unix_name = name_;
      address.host_id = HostId();
      const Socket line = Dial(address).value();
      static_cast<void>(!write(ends[1], "r", 1));
      char order = 0;
      static_cast<void>(!read(ends[1], &order, 1));
      shutdown(line.fd(), SHUT_RDWR);
      static_cast<void>(!write(ends[1], "s", 1));
      pause();
    }
    close(ends[1]);
    control_ = Socket(ends[0]);
    AwaitWord();
    std::string who;
    line_ = Accept(listener.fd(), &who);
    EXPECT_GE(line_.fd(), 0);
  }
  ~PeerMemoryTest() override { Kill(); }
  void AwaitWord() {
    char word = 0;
    EXPECT_EQ(read(control_.fd(), &word, 1), 1);
  }
  void Kill() {
    if (peer_ <= 0) return;
    kill(peer_, SIGKILL);
    waitpid(peer_, nullptr, 0);
    peer_ = 0;
  }
  uint64_t Address() const { return reinterpret_cast<uint64_t>(text_); }

  const std::string name_ = "liquid_peer_memory_test_" + std::to_string(getpid());
  char text_[8] = "mine...";
  char copy_[8] = "";
  pid_t peer_ = 0;
  Socket control_;
  Socket line_;
};

TEST_F(PeerMemoryTest, ReadsWhatTheOtherProcessHas) {
  const auto memory = PeerMemory::Of(line_);
  ASSERT_TRUE(memory.has_value());
  ASSERT_TRUE(memory->Read(Address(), copy_, sizeof(copy_)));
  EXPECT_EQ(std::string(copy_, sizeof(copy_)), "pppppppp");
  EXPECT_EQ(std::string(text_), "mine...");
  EXPECT_FALSE(memory->Read(/*address=*/16, copy_, sizeof(copy_))) << "nothing is there";
}

TEST_F(PeerMemoryTest, WhatIsReadAfterTheConnectionWasShutDoesNotCount) {
  const auto memory = PeerMemory::Of(line_);
  ASSERT_TRUE(memory.has_value());
  ASSERT_EQ(write(control_.fd(), "x", 1), 1);
  AwaitWord();
  EXPECT_FALSE(memory->Read(Address(), copy_, sizeof(copy_)));
}

TEST_F(PeerMemoryTest, OfADeadProcessNothingIsRead) {
  const auto memory = PeerMemory::Of(line_);
  ASSERT_TRUE(memory.has_value());
  Kill();
  EXPECT_FALSE(memory->Read(Address(), copy_, sizeof(copy_)));
  EXPECT_FALSE(PeerMemory::Of(Socket()).has_value());
}

}  // namespace
}  // namespace liquid
