#include "engine/lora/adapter.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two blocks in the file's order, not the canonical one.
std::vector<LoraTarget> Targets() {
  return {{"blk.10.ffn_down.weight", 8, 16}, {"blk.10.attn_q.weight", 8, 8},
          {"blk.2.ffn_down.weight", 8, 16},  {"blk.2.attn_q.weight", 8, 8},
          {"output.weight", 32, 8},          {"blk.2.attn_k.weight", 4, 8}};
}

LoraConfig Config() {
  LoraConfig config{.rank = 2, .alpha = 4.0f};
  config.modules = *LoraModuleSet::Parse("attn_q,ffn_down");
  return config;
}

Adapter MakeAdapter(uint64_t seed) {
  absl::StatusOr<Adapter> adapter = InitAdapter(Config(), Targets(), "llama", seed);
  EXPECT_TRUE(adapter.ok()) << adapter.status().ToString();
  return std::move(adapter).value();
}

TEST(InitAdapterTest, OrderIsCanonicalByBlockNumberThenProjection) {
  const Adapter adapter = MakeAdapter(1);
  std::vector<std::string> names;
  for (const LoraPair& pair : adapter.pairs) names.push_back(pair.name);
  EXPECT_THAT(names, ElementsAre("blk.2.attn_q.weight", "blk.2.ffn_down.weight",
                                 "blk.10.attn_q.weight", "blk.10.ffn_down.weight"));
  EXPECT_EQ(adapter.ParameterCount(), 2u * (2 * (8 + 8) + 2 * (8 + 16)));
  EXPECT_EQ(adapter.Scale(adapter.pairs[0]), 2.0f);
  EXPECT_TRUE(ValidateAdapter(adapter).ok());
}

TEST(InitAdapterTest, BIsZeroAndAIsUniformWithinOneOverRootIn) {
  LoraConfig config{.rank = 64, .alpha = 64.0f};
  config.modules = *LoraModuleSet::Parse("attn_q");
  const std::vector<LoraTarget> targets = {{"blk.0.attn_q.weight", 64, 256}};
  const Adapter adapter = *InitAdapter(config, targets, "llama", 7);
  double sum = 0;
  double squares = 0;
  for (const float v : adapter.pairs[0].a) {
    ASSERT_LE(std::fabs(v), 1.0f / 16.0f);
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(adapter.pairs[0].a.size());
  // Uniform on (-1/16, 1/16): mean 0, variance 1/768. Six standard errors of 16,384 draws.
  EXPECT_NEAR(sum / n, 0.0, 6.0 / 16.0 / std::sqrt(3.0 * n));
  EXPECT_NEAR(squares / n, 1.0 / 768.0, 6.0 / 768.0 / std::sqrt(n));
  EXPECT_EQ(adapter.pairs[0].b, std::vector<float>(64 * 64, 0.0f));
}

TEST(InitAdapterTest, SeedDecidesTheValues) {
  EXPECT_EQ(Flatten(MakeAdapter(5)), Flatten(MakeAdapter(5)));
  EXPECT_NE(Flatten(MakeAdapter(5)), Flatten(MakeAdapter(6)));
}

TEST(InitAdapterTest, ModuleThatTheModelLacksIsInvalid) {
  LoraConfig config = Config();
  config.modules = LoraModuleSet::All();
  EXPECT_THAT(InitAdapter(config, Targets(), "llama", 1).status().ToString(),
              HasSubstr("only these LoRA modules: attn_q,attn_k,ffn_down"));
}

TEST(InitAdapterTest, AbsurdTargetsAreRefusedBeforeAllocation) {
  LoraConfig config = Config();
  config.modules = *LoraModuleSet::Parse("attn_q");
  for (const auto& [rows, cols] :
       {std::pair<int64_t, int64_t>{0, 8}, {8, -1}, {int64_t{1} << 62, 1}, {1 << 30, 1 << 30}}) {
    const std::vector<LoraTarget> targets = {{"blk.0.attn_q.weight", rows, cols},
                                             {"blk.1.attn_q.weight", rows, cols},
                                             {"blk.2.attn_q.weight", rows, cols}};
    EXPECT_EQ(InitAdapter(config, targets, "llama", 1).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(FlattenTest, AStandsBeforeBAndUnflattenInverts) {
  Adapter adapter = MakeAdapter(3);
  adapter.pairs[0].b[0] = 42.0f;
  const std::vector<float> flat = Flatten(adapter);
  EXPECT_EQ(flat[0], adapter.pairs[0].a[0]);
  EXPECT_EQ(flat[2 * 8], 42.0f);
  Adapter other = MakeAdapter(4);
  ASSERT_TRUE(Unflatten(flat, other).ok());
  EXPECT_EQ(Flatten(other), flat);
  EXPECT_EQ(Unflatten(std::span(flat).first(flat.size() - 1), other).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(DeltaTest, SubtractThenAddGivesTheTrainedAdapterBack) {
  const Adapter base = MakeAdapter(1);
  Adapter trained = base;
  for (LoraPair& pair : trained.pairs) {
    for (float& v : pair.b) v = 0.25f;
  }
  const absl::StatusOr<Adapter> delta = Subtract(trained, base);
  ASSERT_TRUE(delta.ok());
  EXPECT_EQ(delta->pairs[0].b[0], 0.25f);
  EXPECT_EQ(delta->pairs[0].a[0], 0.0f);
  Adapter sum = base;
  ASSERT_TRUE(AddScaled(sum, 1.0f, *delta).ok());
  EXPECT_EQ(Flatten(sum), Flatten(trained));
  ASSERT_TRUE(AddScaled(sum, -2.0f, *delta).ok());
  EXPECT_EQ(sum.pairs[0].b[0], -0.25f);
}

TEST(DeltaTest, OtherShapesAreInvalid) {
  const Adapter base = MakeAdapter(1);
  Adapter other = base;
  other.pairs.pop_back();
  EXPECT_EQ(Subtract(base, other).status().code(), absl::StatusCode::kInvalidArgument);
  other = base;
  other.pairs[1].name = "blk.3.attn_q.weight";
  EXPECT_FALSE(AddScaled(other, 1.0f, base).ok());
}

TEST(ValidateAdapterTest, EachMistakeIsNamed) {
  const Adapter good = MakeAdapter(1);
  Adapter bad = good;
  std::swap(bad.pairs[0], bad.pairs[1]);
  EXPECT_THAT(ValidateAdapter(bad).ToString(), HasSubstr("stands twice or after"));
  bad = good;
  bad.pairs[1].name = bad.pairs[0].name;
  EXPECT_THAT(ValidateAdapter(bad).ToString(), HasSubstr("stands twice or after"));
  bad = good;
  bad.pairs[2].b.pop_back();
  EXPECT_THAT(ValidateAdapter(bad).ToString(), HasSubstr("blk.10.attn_q.weight"));
  bad = good;
  bad.pairs[2].rank = 0;
  EXPECT_THAT(ValidateAdapter(bad).ToString(), HasSubstr("rank 0"));
  bad = good;
  bad.alpha = std::nanf("");
  EXPECT_THAT(ValidateAdapter(bad).ToString(), HasSubstr("alpha"));
  bad = good;
  bad.pairs.clear();
  EXPECT_FALSE(ValidateAdapter(bad).ok());
}

TEST(CheckAdapterFitsTest, NameAndShapeMustMatchTheModel) {
  const Adapter adapter = MakeAdapter(1);
  std::vector<LoraTarget> targets = Targets();
  EXPECT_TRUE(CheckAdapterFits(adapter, targets).ok());
  targets[0].cols = 17;
  EXPECT_THAT(CheckAdapterFits(adapter, targets).ToString(), HasSubstr("8 x 16"));
  targets.erase(targets.begin());
  EXPECT_EQ(CheckAdapterFits(adapter, targets).code(), absl::StatusCode::kNotFound);
}

TEST(CheckFiniteTest, NanAndInfinityAreFoundInAAndB) {
  Adapter adapter = MakeAdapter(1);
  EXPECT_TRUE(CheckFinite(adapter).ok());
  adapter.pairs[3].b.back() = std::numeric_limits<float>::infinity();
  EXPECT_THAT(CheckFinite(adapter).ToString(), HasSubstr(adapter.pairs[3].name));
  adapter = MakeAdapter(1);
  adapter.pairs[0].a.front() = std::nanf("");
  EXPECT_FALSE(CheckFinite(adapter).ok());
}

TEST(CheckNotDegenerateTest, ZeroAIsRefusedAndZeroBIsAFreshStart) {
  Adapter adapter = MakeAdapter(1);
  EXPECT_TRUE(CheckNotDegenerate(adapter).ok());
  for (LoraPair& pair : adapter.pairs) pair.a.assign(pair.a.size(), -0.0f);
  EXPECT_FALSE(CheckNotDegenerate(adapter).ok());
  adapter.pairs[0].b[0] = 1.0f;
  EXPECT_FALSE(CheckNotDegenerate(adapter).ok());
}

}  // namespace
}  // namespace choir::engine
