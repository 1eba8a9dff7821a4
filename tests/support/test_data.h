#ifndef CHOIR_TESTS_SUPPORT_TEST_DATA_H_
#define CHOIR_TESTS_SUPPORT_TEST_DATA_H_

#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace choir {

// The folder of shared test data: $CHOIR_TEST_DATA, else ../shared/data; nothing if it is absent.
// With CHOIR_REQUIRE_TEST_DATA=1 an absent folder fails the test instead of skipping it.
std::optional<std::string> TestDataDir();

// Why a test skips, for GTEST_SKIP; also records the failure when the data is required.
std::string MissingTestDataMessage();

}  // namespace choir

// First line of a test that needs the data: `dir` becomes the folder, or the test skips and says
// so.
#define CHOIR_TEST_DATA_OR_SKIP(dir)                                     \
  const std::optional<std::string> dir##_found = ::choir::TestDataDir(); \
  if (!dir##_found.has_value()) {                                        \
    GTEST_SKIP() << ::choir::MissingTestDataMessage();                   \
  }                                                                      \
  const std::string& dir = *dir##_found

#endif  // CHOIR_TESTS_SUPPORT_TEST_DATA_H_
