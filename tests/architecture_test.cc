// The dependency table of docs/ARCHITECTURE.md, held against every #include.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace {

namespace fs = std::filesystem;

// folder -> the folders whose headers it may include, besides its own.
// Extensions of a single file are in kFileMayInclude.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"base", {}},
    {"proto", {"base"}},
    {"tensor", {"base"}},
    {"kernels", {"base", "tensor"}},
    {"parallel", {"base", "proto", "tensor", "kernels"}},
    {"data", {"base", "proto"}},
    {"checkpoint", {"base", "proto", "tensor"}},
    {"model", {"base", "proto", "tensor", "kernels", "parallel", "checkpoint"}},
    {"coordinator", {"base", "proto"}},
    {"worker", {"base", "proto", "tensor", "kernels", "parallel", "model", "data", "checkpoint"}},
    {"cli", {"base", "proto", "tensor", "kernels", "parallel", "model", "data", "checkpoint"}},
};

// Where a folder may not include another, these of its headers may be included all the same.
const std::map<std::string, std::set<std::string>> kFolderMayIncludeFile = {
    {"coordinator", {"data/epoch_order.h"}},
    {"cli", {"coordinator/ledger.h", "coordinator/audit.h", "worker/job_plan.h"}},
};

// The composition roots: main() puts together what must not know each other.
const std::map<std::string, std::set<std::string>> kFileMayInclude = {
    {"worker/main.cc",
     {"coordinator/job_record.h", "coordinator/ledger.h", "coordinator/server.h"}},
};

// The only sources that meet a library which can report by exception alone.
const std::set<std::string> kExceptionAdapters = {"base/command_line.cc", "proto/yaml_document.cc"};

struct Line {
  fs::path path;
  std::string text;
};

std::vector<Line> LinesOf(const std::string& folder) {
  std::vector<Line> lines;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    std::ifstream file(entry.path());
    for (std::string text; std::getline(file, text);) lines.push_back({entry.path(), text});
  }
  return lines;
}

bool Has(const std::map<std::string, std::set<std::string>>& table, const std::string& key,
         const std::string& value) {
  const auto it = table.find(key);
  return it != table.end() && it->second.contains(value);
}

TEST(ArchitectureTest, FoldersIncludeOnlyWhatTheyMay) {
  constexpr std::string_view kInclude = "#include \"";
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const Line& line : LinesOf(folder)) {
      if (!line.text.starts_with(kInclude)) continue;
      const size_t slash = line.text.find('/');
      const std::string target = line.text.substr(kInclude.size(), slash - kInclude.size());
      const bool foreign = target != "tests" && !kMayInclude.contains(target);
      const std::string header =
          line.text.substr(kInclude.size(), line.text.find('"', kInclude.size()) - kInclude.size());
      EXPECT_TRUE(foreign || target == folder || allowed.contains(target) ||
                  Has(kFolderMayIncludeFile, folder, header) ||
                  Has(kFileMayInclude, line.path.string(), header))
          << line.path << " may not have " << line.text;
    }
  }
}

TEST(ArchitectureTest, NoSourceAsksWhatTheBuildHas) {
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const Line& line : LinesOf(folder)) {
      const bool guard = line.text.starts_with("#ifndef LIQUID_") &&
                         (line.text.ends_with("_H_") || line.text.ends_with("_CUH_"));
      EXPECT_TRUE(guard || !line.text.starts_with("#if")) << line.path << ": " << line.text;
    }
  }
}

TEST(ArchitectureTest, NobodyThrowsAndOnlyAdaptersCatch) {
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const Line& line : LinesOf(folder)) {
      const std::string code = line.text.substr(0, line.text.find("//"));
      EXPECT_EQ(code.find("throw "), std::string::npos) << line.path << ": " << line.text;
      if (kExceptionAdapters.contains(line.path.string())) continue;
      EXPECT_EQ(code.find("catch ("), std::string::npos) << line.path << ": " << line.text;
    }
  }
}

// What nvcc compiles stands alone, is launched in one way, and knows of no emulation.
TEST(ArchitectureTest, KernelsAreProductionCudaAlone) {
  const std::set<std::string> plain_headers = {"kernels/adamw_coefficients.h"};
  const std::string device = "kernels/cuda/device/";
  for (const Line& line : LinesOf(device)) {
    const std::string path = line.path.string();
    if (line.text.starts_with("#include \"")) {
      const std::string header = line.text.substr(10, line.text.find('"', 10) - 10);
      EXPECT_TRUE(header.starts_with(device) || plain_headers.contains(header))
          << path << " may not have " << line.text;
    }
    const std::string code = line.text.substr(0, line.text.find("//"));
    for (const char* word :
         {"<<<", "__CUDA_ARCH__", "emulat", "LIQUID_TEST", "memset(", "memcpy("}) {
      EXPECT_EQ(code.find(word), std::string::npos) << path << ": " << line.text;
    }
    if (!path.ends_with("ptx.cuh")) {
      EXPECT_EQ(code.find("asm"), std::string::npos) << path << ": " << line.text;
    }
    if (!path.ends_with("launch.cuh")) {
      EXPECT_EQ(code.find("cudaLaunch"), std::string::npos) << path << ": " << line.text;
      EXPECT_EQ(code.find("extern __shared__"), std::string::npos) << path << ": " << line.text;
    }
  }
}

TEST(ArchitectureTest, GrpcStaysInServicesAndClients) {
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const Line& line : LinesOf(folder)) {
      const bool grpc =
          line.text.starts_with("#include") && (line.text.find("grpc") != std::string::npos);
      const std::string stem = line.path.stem().string();
      EXPECT_TRUE(!grpc || stem.ends_with("service") || stem.ends_with("client") ||
                  stem.ends_with("server") || stem.ends_with("line"))
          << line.path << ": " << line.text;
    }
  }
}

}  // namespace
