#include "engine/infer/sampler.h"

#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(GreedySamplerTest, TakesTheLargestAndTheFirstOfEquals) {
  GreedySampler sampler;
  EXPECT_EQ(*sampler.Sample(std::vector<float>{-3.0f, 2.0f, 2.0f, 1.0f}, {}), 1);
  EXPECT_EQ(*sampler.Sample(std::vector<float>{-3.0f}, {}), 0);
}

TEST(GreedySamplerTest, NaNIsNeverChosen) {
  GreedySampler sampler;
  EXPECT_EQ(*sampler.Sample(std::vector<float>{kNan, -1.0f, kNan}, {}), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{kNan, kNan}, {}).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace choir::engine
