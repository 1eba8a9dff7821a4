#include "node/task/personal_adapter.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/lora/gguf_adapter.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

class PersonalAdapterTest : public testing::Test {
 protected:
  // An adapter file whose A is `a` and whose B is `b` everywhere.
  std::string Write(const std::string& name, float a, float b, int64_t rows = 3) {
    engine::Adapter adapter;
    adapter.alpha = 2;
    adapter.architecture = "llama";
    adapter.pairs.push_back({"blk.0.attn_q.weight", rows, 2, 1, std::vector<float>(2, a),
                             std::vector<float>(static_cast<size_t>(rows), b)});
    std::string path = dir_.path() + "/" + name;
    EXPECT_TRUE(AtomicWriteFile(path, engine::SerializeGgufAdapter(adapter).value()).ok());
    return path;
  }
  std::vector<float> Values() const {
    return engine::Flatten(engine::ReadGgufAdapter(personal_.path()).value());
  }

  TempDir dir_;
  PersonalAdapter personal_{dir_.path() + "/adapters", "run"};
};

TEST_F(PersonalAdapterTest, KeepsItsOwnBThroughVersions) {
  EXPECT_FALSE(personal_.Exists());
  EXPECT_TRUE(personal_.TakeCommonPart(Write("v0", 1, 0)).ok());
  EXPECT_FALSE(personal_.Exists());
  const std::string trained = Write("trained", 7, 9);
  ASSERT_TRUE(personal_.Keep(Write("v0", 1, 0), trained).ok());
  EXPECT_EQ(Values(), (std::vector<float>{1, 1, 9, 9, 9}));
  ASSERT_TRUE(personal_.Keep(Write("v0", 1, 0), trained).ok());
  EXPECT_EQ(Values(), (std::vector<float>{1, 1, 9, 9, 9}));
  ASSERT_TRUE(personal_.TakeCommonPart(Write("v1", 4, 0)).ok());
  EXPECT_EQ(Values(), (std::vector<float>{4, 4, 9, 9, 9}));
}

TEST_F(PersonalAdapterTest, IsTheOwnersAlone) {
  ASSERT_TRUE(personal_.Keep(Write("v0", 1, 0), Write("trained", 7, 9)).ok());
  const auto mode = std::filesystem::status(personal_.path()).permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(PersonalAdapterTest, AnotherShapeChangesNothing) {
  ASSERT_TRUE(personal_.Keep(Write("v0", 1, 0), Write("trained", 7, 9)).ok());
  EXPECT_EQ(personal_.TakeCommonPart(Write("other", 1, 0, 4)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Values(), (std::vector<float>{1, 1, 9, 9, 9}));
}

}  // namespace
}  // namespace choir::node
