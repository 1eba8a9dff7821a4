#include "engine/model/weight_residency.h"

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

class WeightResidencyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CHOIR_TEST_DATA_OR_SKIP(dir);
    tied_ = std::make_unique<Model>(*Model::Open(dir + "/models/stories260K-f32.gguf"));
    untied_ = std::make_unique<Model>(*Model::Open(dir + "/models/tiny/tiny-llama-f16.gguf"));
    ASSERT_TRUE(tied_->spec().tied_output);
    ASSERT_FALSE(untied_->spec().tied_output);
  }

  static uint64_t BytesOf(const Model& model, const std::set<std::string_view>& names) {
    uint64_t bytes = 0;
    for (const std::string_view name : names) bytes += model.file().FindTensor(name)->bytes.size();
    return bytes;
  }

  std::unique_ptr<Model> tied_;
  std::unique_ptr<Model> untied_;
};

using Names = std::set<std::string_view>;

TEST_F(WeightResidencyTest, AllStaysUnlessToldOtherwise) {
  EXPECT_EQ(WeightsToStream(*untied_, {}), Names());
}

TEST_F(WeightResidencyTest, ATiedTableStaysAsTheOutputDoes) {
  EXPECT_EQ(WeightsToStream(*tied_, {.embedding = false}), Names());
  EXPECT_EQ(WeightsToStream(*tied_, {.output = false}), Names({"token_embd.weight"}));
  EXPECT_EQ(WeightsToStream(*untied_, {.embedding = false}), Names({"token_embd.weight"}));
  EXPECT_EQ(WeightsToStream(*untied_, {.output = false}), Names({"output.weight"}));
}

// What stays, and the largest of what does not.
TEST_F(WeightResidencyTest, BlocksKeepToTheirBytes) {
  const uint64_t all = BlockBytes(*untied_);
  const uint64_t least = LeastBlockBytes(*untied_);
  for (const uint64_t allowed : {least, all / 2, all - 1}) {
    const Names streamed = WeightsToStream(*untied_, {.block_bytes = allowed});
    EXPECT_LE(all - BytesOf(*untied_, streamed) + least, allowed);
    EXPECT_FALSE(streamed.empty());
    EXPECT_FALSE(streamed.contains("output.weight"));
  }
  EXPECT_EQ(WeightsToStream(*untied_, {.block_bytes = all}), Names());
}

}  // namespace
}  // namespace choir::engine
