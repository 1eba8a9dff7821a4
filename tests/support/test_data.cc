#include "tests/support/test_data.h"

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace choir {

std::optional<std::string> TestDataDir() {
  const char* set = std::getenv("CHOIR_TEST_DATA");
  const std::string dir = set != nullptr ? set : "../shared/data";
  std::error_code error;
  if (std::filesystem::is_directory(dir + "/models", error)) return dir;
  return std::nullopt;
}

std::string MissingTestDataMessage() {
  const char* required = std::getenv("CHOIR_REQUIRE_TEST_DATA");
  const std::string message =
      "the shared test data is not here: set CHOIR_TEST_DATA to its folder (default "
      "../shared/data)";
  if (required != nullptr && std::string_view(required) == "1") ADD_FAILURE() << message;
  return message;
}

}  // namespace choir
