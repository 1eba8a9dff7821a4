#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/file.h"
#include "coordinator/gate/evaluate_command.h"
#include "coordinator/gate/evaluation_files.h"
#include "coordinator/gate/evaluation_process.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/model/model.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::coordinator {
namespace {

TEST(GateTest, RefusesWhatIsWorseByMoreThanTheMargin) {
  EXPECT_TRUE(CheckAgainstParent(2.0, 1.5, 0).ok());
  EXPECT_TRUE(CheckAgainstParent(2.0, 2.0, 0).ok());
  EXPECT_TRUE(CheckAgainstParent(2.0, 2.0625, 0.0625).ok());
  const absl::Status worse = CheckAgainstParent(2.0, 2.25, 0.125);
  EXPECT_EQ(worse.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(worse.message().find("2.2500 after the merge, 2.0000 before"), std::string::npos)
      << worse;
}

TEST(GateTest, NoNumberIsWorse) {
  EXPECT_FALSE(CheckAgainstParent(2.0, std::numeric_limits<double>::quiet_NaN(), 10).ok());
}

TEST(EvaluationFilesTest, RoundTripAndDamageIsDataLoss) {
  const TempDir dir;
  const EvaluationJob job{"m.gguf", "a.gguf", "d.jsonl", 64, "windows", "all", "f32"};
  ASSERT_TRUE(WriteEvaluationJob(dir.path(), job).ok());
  const auto read = ReadEvaluationJob(dir.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->data_path, "d.jsonl");
  EXPECT_EQ(read->context_tokens, 64u);
  EXPECT_EQ(ReadEvaluationResult(dir.path()).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteEvaluationResult(dir.path(), 1.25).ok());
  EXPECT_EQ(ReadEvaluationResult(dir.path()).value(), 1.25);
  ASSERT_TRUE(AtomicWriteFile(dir.path() + "/result.json", "{\"mean_nll\":null}").ok());
  EXPECT_EQ(ReadEvaluationResult(dir.path()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(EvaluationProcessTest, ProgramThatFailsOrIsNotThereIsAnError) {
  const TempDir dir;
  const EvaluationJob job{"m", dir.path() + "/a.gguf", "d", 64, "windows", "all", "f32"};
  EXPECT_EQ(EvaluateInAProcess("/bin/false")(job).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(EvaluateInAProcess(dir.path() + "/nothing")(job).ok());
}

// With the real engine and files.
TEST(EvaluateHeldOutTest, AdapterIsEvaluatedOnTheModel) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const TempDir dir;
  EvaluationJob job;
  job.model_path = data + "/models/stories260K-f32.gguf";
  job.adapter_path = dir.path() + "/adapter.gguf";
  job.data_path = data + "/datasets/shakespeare_roles/client07-juliet.test.jsonl";
  job.context_tokens = 64;
  job.packing = "windows";
  job.train_on = "all";
  job.compute = "f32";
  const auto model = engine::Model::Open(job.model_path);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto adapter = engine::InitAdapter({}, model->LoraTargets(), model->spec().architecture, 1);
  ASSERT_TRUE(
      AtomicWriteFile(job.adapter_path, engine::SerializeGgufAdapter(*adapter).value()).ok());
  const auto nll = EvaluateHeldOut(job);
  ASSERT_TRUE(nll.ok()) << nll.status();
  // A model of children's stories on Shakespeare: far from both certainty and chance (ln 512).
  EXPECT_GT(*nll, 2.0);
  EXPECT_LT(*nll, 6.0);
  job.data_path = dir.path() + "/nothing.jsonl";
  EXPECT_FALSE(EvaluateHeldOut(job).ok());
}

}  // namespace
}  // namespace choir::coordinator
