// A coordinator that listens beyond loopback, and asks for a token.
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/host_address.h"
#include "coordinator/server.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "proto/access_token_client.h"
#include "proto/coordinator.grpc.pb.h"
#include "tests/coordinator/gang_script.h"
#include "tests/testing/status_matchers.h"

namespace liquid {
namespace {

using ::liquid::testing::IsOk;
using ::liquid::testing::ScriptedJob;
using ::liquid::testing::StatusIs;
using ::testing::HasSubstr;

class TokenTest : public ::testing::Test {
 protected:
  TokenTest() {
    const std::string stem =
        (std::filesystem::temp_directory_path() / absl::StrCat("liquid_token_test_", getpid()))
            .string();
    output_ = stem + ".output";
    options_.listen = "0.0.0.0:0";
    options_.token_file = stem + ".token";
    EXPECT_THAT(WriteFileAtomically(options_.token_file, "secret\n"), IsOk());
    chmod(options_.token_file.c_str(), 0600);
  }
  ~TokenTest() override {
    std::filesystem::remove_all(output_);
    std::filesystem::remove(options_.token_file);
  }

  grpc::StatusCode StatusWith(const std::string& address, const std::string& token) {
    const auto stub =
        Coordinator::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    AddAccessToken(token, context);
    JobStatus status;
    return stub->GetStatus(&context, {}, &status).error_code();
  }

  std::string output_;
  CoordinatorServer::Options options_;
};

TEST_F(TokenTest, ListensOnAllInterfacesAndAsksEverybody) {
  const auto server = CoordinatorServer::Start(ScriptedJob(output_), options_);
  ASSERT_THAT(server, IsOk());
  const std::string address = (*server)->address();
  EXPECT_FALSE(IsAnyAddress(HostOf(address))) << address;
  const auto json = nlohmann::json::parse(ReadFile(output_ + "/coordinator.json").value());
  EXPECT_EQ(json["address"], address);
  const std::string loopback = absl::StrCat("127.0.0.1", address.substr(address.rfind(':')));
  EXPECT_EQ(StatusWith(loopback, "secret"), grpc::StatusCode::OK);
  EXPECT_EQ(StatusWith(loopback, ""), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(StatusWith(loopback, "Secret"), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(TokenTest, RefusesAFileThatOthersCanRead) {
  chmod(options_.token_file.c_str(), 0644);
  EXPECT_THAT(CoordinatorServer::Start(ScriptedJob(output_), options_),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("chmod 600")));
  EXPECT_FALSE(FileExists(output_)) << "refused before anything was made";
}

}  // namespace
}  // namespace liquid
