#include "node/task/kept_training.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/sketch.h"
#include "node/worker/job.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

class KeptTrainingTest : public testing::Test {
 protected:
  KeptTrainingTest() {
    trained_.pairs[0].b = {1, -2, 3, 0.5f};
    EXPECT_TRUE(MakeDirectories(job_, 0700).ok());
    Write(TrainedAdapterPath(job_), trained_);
    EXPECT_TRUE(
        WriteJobResult(job_, {.examples = 7, .tokens = 9, .loss_sum = 3, .steps = 2}, {1}).ok());
    basis_ = engine::SketchBasis(start_, engine::LeftSketch(trained_, 0)).value();
    Write(dir_.path() + "/start.gguf", start_);
    Write(dir_.path() + "/basis.gguf", basis_);
  }
  static engine::Adapter Start() {
    engine::Adapter adapter;
    adapter.alpha = 2;
    adapter.architecture = "llama";
    adapter.pairs.push_back(
        {"blk.0.attn_q.weight", 4, 3, 1, {1, 2, 3}, std::vector<float>(4, 0.0f)});
    return adapter;
  }
  static void Write(const std::string& path, const engine::Adapter& adapter) {
    EXPECT_TRUE(AtomicWriteFile(path, engine::SerializeGgufAdapter(adapter).value()).ok());
  }
  KeptTraining Kept(std::string_view start) const {
    return KeptTraining(dir_.path() + "/adapters", "run", Sha256Of(start));
  }
  absl::StatusOr<bool> Reuse(std::string_view start) const {
    return Kept(start).Reuse(dir_.path() + "/start.gguf", dir_.path() + "/basis.gguf",
                             dir_.path() + "/second");
  }

  TempDir dir_;
  const std::string job_ = dir_.path() + "/job";
  engine::Adapter start_ = Start();
  engine::Adapter trained_ = Start();
  engine::Adapter basis_;
};

TEST_F(KeptTrainingTest, SecondRoundSendsTheRightSketchOfTheFirstOnesTraining) {
  EXPECT_EQ(Reuse("v0").value(), false);
  ASSERT_TRUE(Kept("v0").Keep(job_).ok());
  EXPECT_EQ(Reuse("v0").value(), true);
  const std::string second = dir_.path() + "/second";
  EXPECT_EQ(ReadJobResult(second)->examples, 7u);
  EXPECT_EQ(ReadJobDelta(second).value(), engine::RightSketchDelta(trained_, start_, basis_));
  // The same again after a crash.
  EXPECT_EQ(Reuse("v0").value(), true);
}

TEST_F(KeptTrainingTest, IsNotUsedForAnotherStart) {
  ASSERT_TRUE(Kept("v0").Keep(job_).ok());
  EXPECT_EQ(Reuse("v1").value(), false);
  ASSERT_TRUE(Kept("v1").Keep(job_).ok());
  EXPECT_EQ(Reuse("v0").value(), false);
  EXPECT_EQ(Reuse("v1").value(), true);
  ASSERT_TRUE(Kept("v1").Drop().ok());
  EXPECT_EQ(Reuse("v1").value(), false);
}

}  // namespace
}  // namespace choir::node
