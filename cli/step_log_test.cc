#include "cli/step_log.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/training_curve.h"
#include "tests/support/temp_dir.h"

namespace choir::cli {
namespace {

engine::StepReport Step(int64_t step) {
  engine::StepReport report;
  report.step = step;
  report.total_steps = 9;
  report.loss = 4.0 - 0.25 * static_cast<double>(step);
  report.learning_rate = 1e-3;
  return report;
}

engine::EvaluationReport Evaluated(int64_t step) {
  return {.step = step, .loss = 3.0, .is_best = step == 0, .record = {}};
}

TEST(StepLogTest, AResumedRunKeepsWhatItsCheckpointKnows) {
  const TempDir dir;
  const std::string path = dir.path() + "/log.jsonl";
  {
    absl::StatusOr<StepLog> log = StepLog::Open(path, {});
    ASSERT_TRUE(log.ok()) << log.status();
    ASSERT_TRUE(log->Write(Evaluated(0)).ok());
    for (int64_t step = 1; step <= 4; ++step) ASSERT_TRUE(log->Write(Step(step)).ok());
    ASSERT_TRUE(log->Write(Evaluated(4)).ok());
    ASSERT_TRUE(log->Write(Step(5)).ok());
  }
  const auto lines_after = [&path](const StepLog::Kept& kept) {
    const std::string lines = *ReadKeptLines(path, kept);
    return std::count(lines.begin(), lines.end(), '\n');
  };
  EXPECT_EQ(lines_after({.steps = 0, .evaluations = 0}), 0);
  EXPECT_EQ(lines_after({.steps = 0, .evaluations = 1}), 1);
  EXPECT_EQ(lines_after({.steps = 4, .evaluations = 1}), 5);  // before the second evaluation
  EXPECT_EQ(lines_after({.steps = 4, .evaluations = 2}), 6);
  EXPECT_EQ(lines_after({.steps = 9, .evaluations = 9}), 7);

  ASSERT_TRUE(StepLog::Open(path, {.steps = 4, .evaluations = 2}).ok());
  TrainingCurve curve;
  const std::string log = *ReadFile(path, 1 << 20);
  for (size_t at = 0; at < log.size(); at = log.find('\n', at) + 1) {
    ASSERT_TRUE(AddLogLine(log.substr(at, log.find('\n', at) - at), curve));
  }
  ASSERT_EQ(curve.steps.size(), 4u);
  EXPECT_EQ(curve.steps[3].loss, 3.0);
  EXPECT_EQ(curve.steps[3].learning_rate, 1e-3);
  ASSERT_EQ(curve.held_out.size(), 2u);
  EXPECT_TRUE(curve.held_out[0].is_best);
  EXPECT_FALSE(curve.held_out[1].is_best);
  EXPECT_EQ(curve.held_out[1].step, 4);
}

TEST(StepLogTest, ALineThatWasCutOffIsDropped) {
  EXPECT_EQ(KeptLines("{\"step\":1,\"loss\":2.0,\"lr\":1.0}\n{\"step\":2,\"lo",
                      {.steps = 5, .evaluations = 0}),
            "{\"step\":1,\"loss\":2.0,\"lr\":1.0}\n");
  EXPECT_EQ(
      KeptLines("rubbish\n{\"step\":1,\"loss\":2.0,\"lr\":1.0}\n", {.steps = 5, .evaluations = 0}),
      "");
}

TEST(StepLogTest, MissingLogHasNothingToKeep) {
  const TempDir dir;
  EXPECT_EQ(*ReadKeptLines(dir.path() + "/none", {.steps = 3, .evaluations = 0}), "");
}

}  // namespace
}  // namespace choir::cli
