// Gangs whose processes are threads of a test.
#ifndef LIQUID_TESTS_PARALLEL_TCP_PROCESSES_H_
#define LIQUID_TESTS_PARALLEL_TCP_PROCESSES_H_

#include <barrier>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "parallel/tcp/data_port.h"
#include "parallel/tcp/tcp_group.h"

namespace liquid::testing {

class TcpProcesses {
 public:
  TcpProcesses(int num_gangs, int gang_size, bool uses_unix = true) {
    for (int gang = 0; gang < num_gangs; ++gang) {
      auto& addresses = addresses_.emplace_back();
      auto& ports = ports_.emplace_back();
      for (int rank = 0; rank < gang_size; ++rank) {
        auto port = DataPort::Open("127.0.0.1");
        EXPECT_TRUE(port.ok()) << port.status();
        ports.push_back(*std::move(port));
        // A host that is not this one is reached by TCP.
        addresses.push_back(ports.back()->address() + (uses_unix ? "" : "elsewhere"));
      }
    }
  }

  TcpGroup::Options OptionsOf(int gang, int rank, int64_t generation = 1) const {
    TcpGroup::Options options;
    options.job = "digest of the job";
    options.generation = generation;
    options.token = 0x1234567890abcdef + static_cast<uint64_t>(generation);
    options.addresses = addresses_;
    options.gang = gang;
    options.rank_in_gang = rank;
    options.stall_timeout = absl::Seconds(20);
    return options;
  }
  DataPort& port(int gang, int rank) { return *ports_[gang][rank]; }

  // A group that is not formed yet.
  std::unique_ptr<TcpGroup> Group(int gang, int rank, int64_t generation = 1) {
    return std::make_unique<TcpGroup>(port(gang, rank), OptionsOf(gang, rank, generation), nullptr);
  }

  // Runs `body` in a thread for each process, with its group, formed.
  void RunAll(const std::function<void(TcpGroup& group, int gang, int rank)>& body,
              int64_t generation = 1) {
    int num_processes = 0;
    for (const auto& ports : ports_) num_processes += static_cast<int>(ports.size());
    std::barrier all_formed(num_processes);
    std::vector<std::jthread> threads;
    for (int gang = 0; gang < static_cast<int>(ports_.size()); ++gang) {
      for (int rank = 0; rank < static_cast<int>(ports_[gang].size()); ++rank) {
        threads.emplace_back([this, &body, &all_formed, gang, rank, generation] {
          const auto group = Group(gang, rank, generation);
          const absl::Status formed = group->Form(absl::Now() + absl::Seconds(20));
          all_formed.arrive_and_wait();
          ASSERT_TRUE(formed.ok()) << formed;
          body(*group, gang, rank);
        });
      }
    }
  }

 private:
  std::vector<std::vector<std::unique_ptr<DataPort>>> ports_;
  std::vector<std::vector<std::string>> addresses_;
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_PARALLEL_TCP_PROCESSES_H_
