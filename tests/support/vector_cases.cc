#include "tests/support/vector_cases.h"

#include <sstream>

#include <gtest/gtest.h>

#include "base/file.h"

namespace choir {

std::vector<std::vector<std::string>> VectorCases(const std::string& name) {
  const absl::StatusOr<std::string> bytes = ReadFile("tests/vectors/" + name, 1 << 20);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  std::istringstream text(bytes.value_or(""));
  std::vector<std::vector<std::string>> cases;
  for (std::string line; std::getline(text, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::vector<std::string>& entry = cases.emplace_back();
    for (std::string word; words >> word;) entry.push_back(word == "-" ? "" : word);
  }
  return cases;
}

}  // namespace choir
