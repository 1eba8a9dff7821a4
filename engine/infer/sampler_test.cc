#include "engine/infer/sampler.h"

#include <algorithm>
#include <cmath>
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

// How often each of the logits' tokens is drawn in 4,000 draws.
std::vector<int> Draw(const SamplingOptions& options, const std::vector<float>& logits,
                      const std::vector<int32_t>& history = {}) {
  RandomSampler sampler = *RandomSampler::Create(options);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < 4000; ++i) ++counts[static_cast<size_t>(*sampler.Sample(logits, history))];
  return counts;
}

TEST(RandomSamplerTest, DrawsByTheSoftmaxOfLogitsOverTemperature) {
  const std::vector<float> logits = {std::log(1.0f), std::log(3.0f), kNan};
  // 3/4 of 4,000 are 3,000; the standard deviation is 27.
  const std::vector<int> counts = Draw({.seed = 1}, logits);
  EXPECT_NEAR(counts[1], 3000, 140);
  EXPECT_EQ(counts[2], 0);
  // At half the temperature 3 becomes 9.
  EXPECT_NEAR(Draw({.temperature = 0.5f, .seed = 1}, logits)[1], 3600, 100);
  EXPECT_EQ(Draw({.temperature = 0.0f}, logits)[1], 4000);
  EXPECT_EQ(Draw({.temperature = 1e-40f}, logits)[1], 4000);
}

TEST(RandomSamplerTest, EqualSeedsDrawEqually) {
  const std::vector<float> logits(50, 0.0f);
  EXPECT_EQ(Draw({.seed = 5}, logits), Draw({.seed = 5}, logits));
  EXPECT_NE(Draw({.seed = 5}, logits), Draw({.seed = 6}, logits));
}

TEST(RandomSamplerTest, EachLimitLeavesOutTheUnlikely) {
  // Probabilities 0.5, 0.3, 0.15, 0.05, not in order.
  const std::vector<float> logits = {std::log(0.15f), std::log(0.5f), std::log(0.05f),
                                     std::log(0.3f)};
  const auto drawn = [&](const SamplingOptions& options) {
    std::vector<size_t> ids;
    const std::vector<int> counts = Draw(options, logits);
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] > 0) ids.push_back(i);
    }
    return ids;
  };
  using Ids = std::vector<size_t>;
  EXPECT_EQ(drawn({}), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(drawn({.top_k = 2}), (Ids{1, 3}));
  EXPECT_EQ(drawn({.top_k = 9}), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(drawn({.top_p = 0.7f}), (Ids{1, 3}));
  EXPECT_EQ(drawn({.top_p = 0.01f}), (Ids{1}));
  EXPECT_EQ(drawn({.min_p = 0.2f}), (Ids{0, 1, 3}));
  EXPECT_EQ(drawn({.min_p = 1.0f}), (Ids{1}));
}

TEST(RandomSamplerTest, RepeatsArePenalisedWithinTheWindow) {
  const std::vector<float> logits = {2.0f, 1.5f, -1.0f};
  const std::vector<int32_t> history = {2, 0, 1};
  const auto best = [&](float penalty, int64_t window) {
    const std::vector<int> counts = Draw(
        {.repeat_penalty = penalty, .repeat_window = window, .temperature = 0}, logits, history);
    return std::max_element(counts.begin(), counts.end()) - counts.begin();
  };
  EXPECT_EQ(best(2.0f, 0), 0);
  EXPECT_EQ(best(2.0f, 1), 0);   // 2 against 0.75
  EXPECT_EQ(best(1.5f, 2), 0);   // 1.33 against 1
  EXPECT_EQ(best(0.5f, 1), 1);   // a reward: 3 against 2
  EXPECT_EQ(best(0.5f, -1), 0);  // 4, 3 and -0.5
}

TEST(RandomSamplerTest, DamageAndInfinityAreNotDrawnFrom) {
  RandomSampler sampler = *RandomSampler::Create({});
  EXPECT_EQ(sampler.Sample(std::vector<float>{kNan}, {}).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(*sampler.Sample(std::vector<float>{0, std::numeric_limits<float>::infinity()}, {}), 1);
  const std::vector<float> impossible = {-std::numeric_limits<float>::infinity(), 0.0f};
  EXPECT_EQ(Draw({}, impossible)[0], 0);
}

TEST(RandomSamplerTest, OptionsOutOfRangeAreInvalid) {
  for (const SamplingOptions& options :
       {SamplingOptions{.repeat_penalty = 0}, SamplingOptions{.repeat_window = -2},
        SamplingOptions{.temperature = -1}, SamplingOptions{.temperature = kNan},
        SamplingOptions{.top_k = -1}, SamplingOptions{.top_p = 0}, SamplingOptions{.top_p = 1.5f},
        SamplingOptions{.min_p = 2}, SamplingOptions{.min_p = kNan}}) {
    EXPECT_EQ(RandomSampler::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace choir::engine
