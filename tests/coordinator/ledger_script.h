// A ledger in a directory of its own, for tests.
#ifndef LIQUID_TESTS_COORDINATOR_LEDGER_SCRIPT_H_
#define LIQUID_TESTS_COORDINATOR_LEDGER_SCRIPT_H_

#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "coordinator/ledger.h"
#include "gtest/gtest.h"

namespace liquid::testing {

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    output_ = (std::filesystem::temp_directory_path() /
               absl::StrCat("liquid_", test->test_suite_name(), "_", test->name(), "_", getpid()))
                  .string();
    std::filesystem::remove_all(output_);
  }
  ~LedgerTest() override { std::filesystem::remove_all(output_); }

  std::unique_ptr<Ledger> OpenEmpty() {
    auto ledger =
        Ledger::Open(output_, clock_, [](const LedgerEntry&) { return absl::OkStatus(); });
    LIQUID_CHECK(ledger.ok(), ledger.status().ToString());
    return *std::move(ledger);
  }
  void Write(std::vector<LedgerEntry> entries) {
    const absl::Status status = OpenEmpty()->Append(absl::MakeSpan(entries));
    LIQUID_CHECK(status.ok(), status.ToString());
  }
  // Changes the file behind the ledger's back.
  void Sql(const std::string& sql) const {
    sqlite3* database = nullptr;
    LIQUID_CHECK(sqlite3_open(LedgerPath(output_).c_str(), &database) == SQLITE_OK);
    char* error = nullptr;
    sqlite3_exec(database, "PRAGMA synchronous=OFF", nullptr, nullptr, nullptr);
    sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error);
    LIQUID_CHECK(error == nullptr, sql, ": ", error);
    sqlite3_close(database);
  }

  SystemClock clock_;
  std::string output_;
};

}  // namespace liquid::testing

#endif  // LIQUID_TESTS_COORDINATOR_LEDGER_SCRIPT_H_
