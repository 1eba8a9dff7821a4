#include "engine/backend/reference_backend.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "engine/backend/conformance.h"

namespace choir::engine {
namespace {

TEST(ReferenceBackendTest, Conforms) {
  // Nothing but the rounding of inputs and outputs to f32.
  RunOpConformance(*CreateReferenceBackend(), {.compile = {}, .tolerance = 1e-6});
}

// The harness must fail where a backend is wrong: finite differences are not exact, so no backend
// passes with a tolerance of nothing.
TEST(ReferenceBackendTest, HarnessNoticesDifferences) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    RunOpConformance(*CreateReferenceBackend(), {.compile = {}, .tolerance = 0});
  }
  EXPECT_GT(failures.size(), 100);
}

}  // namespace
}  // namespace choir::engine
