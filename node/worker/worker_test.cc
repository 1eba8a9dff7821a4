#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "base/file.h"
#include "node/worker/job.h"
#include "node/worker/worker_process.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

Job SomeJob() {
  Job job;
  job.model_path = "m.gguf";
  job.adapter_path = "a.gguf";
  job.data_folder = "d";
  job.contribution = "b";
  job.local_steps = 3;
  job.learning_rate = 0.5;
  job.packing = "windows";
  job.train_on = "all";
  job.compute = "f32";
  job.seed = UINT64_MAX;
  job.skip_micro_batches = 7;
  job.backend = "cpu";
  return job;
}

TEST(JobTest, RoundTrips) {
  const TempDir dir;
  ASSERT_TRUE(WriteJob(dir.path() + "/job", SomeJob()).ok());
  const absl::StatusOr<Job> job = ReadJob(dir.path() + "/job");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->contribution, "b");
  EXPECT_EQ(job->learning_rate, 0.5);
  EXPECT_EQ(job->seed, UINT64_MAX);
  EXPECT_EQ(job->skip_micro_batches, 7u);
}

TEST(JobTest, DamagedFilesAreErrors) {
  const TempDir dir;
  for (const char* text : {"", "{", "[]", "{\"model\":3}", "null"}) {
    ASSERT_TRUE(AtomicWriteFile(dir.path() + "/job.json", text).ok());
    EXPECT_EQ(ReadJob(dir.path()).status().code(), absl::StatusCode::kDataLoss) << text;
  }
}

TEST(JobTest, ResultNamesItsDelta) {
  const TempDir dir;
  EXPECT_EQ(ReadJobResult(dir.path()).status().code(), absl::StatusCode::kNotFound);
  const std::vector<float> delta = {1.5f, -2.0f};
  ASSERT_TRUE(
      WriteJobResult(dir.path(), {.examples = 4, .tokens = 9, .loss_sum = 3, .steps = 2}, delta)
          .ok());
  EXPECT_EQ(ReadJobResult(dir.path())->examples, 4u);
  EXPECT_EQ(ReadJobDelta(dir.path()).value(), delta);
  ASSERT_TRUE(AtomicWriteFile(dir.path() + "/delta.f32", "12345678").ok());
  EXPECT_EQ(ReadJobDelta(dir.path()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(JobTest, ProgressLinesRoundTripAndNonsenseIsRefused) {
  const JobProgress progress{.step = 2, .total_steps = 8, .loss = 1.25, .tokens_per_second = 99};
  EXPECT_EQ(ParseProgressLine(ProgressLine(progress))->loss, 1.25);
  EXPECT_FALSE(ParseProgressLine("hello").ok());
  EXPECT_FALSE(ParseProgressLine("{}").ok());
}

// Waits for the process to end, at most ten seconds.
std::optional<WorkerExit> WaitForExit(WorkerProcess& worker) {
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (absl::Now() < deadline) {
    worker.WaitForProgress(absl::Milliseconds(20));
    if (auto exit = worker.Poll(); exit.has_value()) return exit;
  }
  return std::nullopt;
}

TEST(WorkerProcessTest, MissingProgramIsAnError) {
  EXPECT_EQ(WorkerProcess::Start("/nonexistent/choird", "x").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(WorkerProcessTest, FailureCarriesTheLastLineOfStandardError) {
  // `cat worker FOLDER` complains about both names.
  absl::StatusOr<WorkerProcess> worker = WorkerProcess::Start("/bin/cat", "/nonexistent");
  ASSERT_TRUE(worker.ok());
  const std::optional<WorkerExit> exit = WaitForExit(*worker);
  ASSERT_TRUE(exit.has_value());
  EXPECT_FALSE(exit->finished);
  EXPECT_NE(exit->problem.find("/nonexistent"), std::string::npos);
}

TEST(WorkerProcessTest, KilledWorkerSaysSo) {
  // `yes` never ends by itself.
  absl::StatusOr<WorkerProcess> worker = WorkerProcess::Start("/usr/bin/yes", "x");
  ASSERT_TRUE(worker.ok());
  EXPECT_FALSE(worker->Poll().has_value());
  worker->Kill();
  const std::optional<WorkerExit> exit = WaitForExit(*worker);
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->problem, "killed by signal 9");
}

}  // namespace
}  // namespace choir::node
