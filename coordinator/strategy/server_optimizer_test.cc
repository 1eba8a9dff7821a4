#include "coordinator/strategy/server_optimizer.h"

#include <cmath>
#include <functional>

#include <gtest/gtest.h>

namespace choir::coordinator {
namespace {

// Three rounds' mean updates of two values: one that keeps its direction, one that does not.
constexpr double kUpdates[3][2] = {{0.01, 0.02}, {0.03, -0.02}, {0.02, 0.01}};
// Moments are kept in f32.
constexpr double kTolerance = 1e-6;

ServerOptimizerConfig Config(std::string_view name) {
  ServerOptimizerConfig config;
  config.kind = ParseServerOptimizer(name).value();
  config.learning_rate = 0.1;
  return config;
}

// Runs the three rounds and compares each step with algorithm 2 of Reddi et al. written out, where
// `second` is the paper's line for v.
void ExpectPaper(std::string_view name, const std::function<double(double, double)>& second) {
  const ServerOptimizerConfig config = Config(name);
  ServerState state;
  double m[2] = {0, 0};
  double v[2] = {1e-6, 1e-6};
  for (const auto& delta : kUpdates) {
    const std::vector<float> mean = {static_cast<float>(delta[0]), static_cast<float>(delta[1])};
    const auto update = ServerStep(config, mean, "both", state);
    ASSERT_TRUE(update.ok()) << update.status();
    for (int i = 0; i < 2; ++i) {
      m[i] = 0.9 * m[i] + 0.1 * delta[i];
      v[i] = second(v[i], delta[i] * delta[i]);
      EXPECT_NEAR(double{(*update)[static_cast<size_t>(i)]}, 0.1 * m[i] / (std::sqrt(v[i]) + 1e-3),
                  kTolerance)
          << name << " " << i;
    }
  }
}

TEST(ServerOptimizerTest, FedAdagradFollowsThePaper) {
  ExpectPaper("fedadagrad", [](double v, double d2) { return v + d2; });
}
TEST(ServerOptimizerTest, FedAdamFollowsThePaper) {
  ExpectPaper("fedadam", [](double v, double d2) { return 0.99 * v + 0.01 * d2; });
}
TEST(ServerOptimizerTest, FedYogiFollowsThePaper) {
  ExpectPaper("fedyogi", [](double v, double d2) { return v - 0.01 * d2 * (v > d2 ? 1.0 : -1.0); });
}

TEST(ServerOptimizerTest, MomentumAddsUp) {
  ServerState state;
  const std::vector<float> mean = {1.0f};
  EXPECT_FLOAT_EQ(ServerStep(Config("momentum"), mean, "b", state)->at(0), 0.1f);
  EXPECT_FLOAT_EQ(ServerStep(Config("momentum"), mean, "b", state)->at(0), 0.19f);
  EXPECT_TRUE(state.at("b").second.empty());
}

TEST(ServerOptimizerTest, PlainIsTheMeanTimesTheRateAndKeepsNothing) {
  ServerState state;
  EXPECT_EQ(ServerStep(Config("plain"), std::vector<float>{2.0f, -4.0f}, "b", state).value(),
            (std::vector<float>{0.2f, -0.4f}));
  EXPECT_TRUE(state.empty());
}

TEST(ServerOptimizerTest, EachContributionHasMomentsOfItsOwn) {
  ServerState state;
  const ServerOptimizerConfig config = Config("fedadam");
  ASSERT_TRUE(ServerStep(config, std::vector<float>{1, 2}, "b", state).ok());
  ASSERT_TRUE(ServerStep(config, std::vector<float>{1, 2, 3}, "a", state).ok());
  EXPECT_EQ(state.at("b").first.size(), 2u);
  EXPECT_EQ(state.at("a").first.size(), 3u);
  EXPECT_EQ(ServerStep(config, std::vector<float>{1}, "a", state).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(ServerOptimizerTest, RestoredStateGoesOnWithTheSameBits) {
  const ServerOptimizerConfig config = Config("fedyogi");
  ServerState state;
  ASSERT_TRUE(ServerStep(config, std::vector<float>{0.5f, -1}, "b", state).ok());
  auto restored = ParseServerState(SerializeServerState(state));
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(*restored, state);
  const std::vector<float> next = {-0.25f, 3};
  EXPECT_EQ(ServerStep(config, next, "b", *restored).value(),
            ServerStep(config, next, "b", state).value());
}

TEST(ServerStateTest, DamageIsDataLoss) {
  const std::string good = SerializeServerState({{"b", {{1, 2}, {3, 4}}}});
  ASSERT_TRUE(ParseServerState(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(ParseServerState(good.substr(0, size)).status().code(), absl::StatusCode::kDataLoss)
        << size;
  }
  EXPECT_EQ(ParseServerState(good + "x").status().code(), absl::StatusCode::kDataLoss);
  std::string lies = good;
  for (size_t i = 21; i < 29; ++i) lies[i] = '\xff';  // the number of first moments
  EXPECT_EQ(ParseServerState(lies).status().code(), absl::StatusCode::kDataLoss);
}

TEST(ServerOptimizerTest, UnknownNameListsTheKnown) {
  EXPECT_NE(ParseServerOptimizer("adam").status().ToString().find("fedadam"), std::string::npos);
  EXPECT_EQ(ParseServerOptimizer("").value(), ServerOptimizerKind::kPlain);
}

}  // namespace
}  // namespace choir::coordinator
