#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/run_file.h"
#include "cli/run_view.h"

namespace choir::cli {
namespace {

constexpr std::string_view kSmallest = "[run]\nname = \"r-1\"\nbase_model = \"m/base.gguf\"\n";

std::string ErrorOf(const std::string& text) {
  const auto file = ParseRunFile(text, "dir/run.toml");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(file.status().message());
}

TEST(RunFileTest, DefaultsFillTheRest) {
  const auto file = ParseRunFile(kSmallest, "dir/run.toml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->base_model_path, "dir/m/base.gguf");
  EXPECT_EQ(file->config.aggregation().strategy(), "fedavg");
  EXPECT_EQ(file->config.aggregation().min_cohort(), 8u);
  EXPECT_EQ(file->config.lora().modules_size(), 7);
  EXPECT_EQ(file->config.training().local_epochs(), 1u);
}

TEST(RunFileTest, RoundMayAddUpSeveralCohorts) {
  const auto file = ParseRunFile(std::string(kSmallest) + "[pacing]\ncohorts = 4\n", "run.toml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->config.pacing().cohorts(), 4u);
}

TEST(RunFileTest, AdaptiveOptimizersHaveARateOfTheirOwn) {
  const auto with = [](const std::string& settings) {
    return ParseRunFile(std::string(kSmallest) + "[aggregation]\n" + settings, "run.toml");
  };
  EXPECT_EQ(with("")->config.aggregation().server_learning_rate(), 1.0f);
  EXPECT_EQ(with("server_optimizer = \"momentum\"\n")->config.aggregation().server_learning_rate(),
            1.0f);
  EXPECT_EQ(with("server_optimizer = \"fedadam\"\n")->config.aggregation().server_learning_rate(),
            0.01f);
  EXPECT_EQ(with("server_optimizer = \"fedadam\"\nserver_learning_rate = 0.5\n")
                ->config.aggregation()
                .server_learning_rate(),
            0.5f);
  EXPECT_EQ(with("server_optimizer = \"adam\"\n").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(with("combine = \"krum\"\n").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(RunFileTest, GateNamesItsTextsFromTheFilesFolder) {
  const auto file = ParseRunFile(
      std::string(kSmallest) + "[gate]\ndata = \"held-out.jsonl\"\nmargin = 0.5\n", "dir/run.toml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->gate_data_path, "dir/held-out.jsonl");
  EXPECT_EQ(file->config.gate().margin(), 0.5f);
  EXPECT_FALSE(ParseRunFile(kSmallest, "run.toml")->config.has_gate());
}

// So that the example cannot fall behind: what it says is what a file gets that says nothing.
TEST(RunFileTest, ShippedExampleHoldsEveryDefault) {
  const auto text = ReadFile("configs/run.toml", 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto example = ParseRunFile(*text, "configs/run.toml");
  ASSERT_TRUE(example.ok()) << example.status();
  const auto smallest =
      ParseRunFile("[run]\nname = \"my-notes\"\nbase_model = \"base.gguf\"\n", "configs/run.toml");
  ASSERT_TRUE(smallest.ok()) << smallest.status();
  EXPECT_EQ(example->config.DebugString(), smallest->config.DebugString());
  EXPECT_EQ(example->base_model_path, smallest->base_model_path);
  EXPECT_EQ(example->initial_adapter_path, smallest->initial_adapter_path);
  EXPECT_EQ(example->valid_days, smallest->valid_days);
}

TEST(RunFileTest, MistakesAreNamedWithWhatWouldDo) {
  const std::string good(kSmallest);
  EXPECT_NE(ErrorOf("").find("name must be 1 to 48"), std::string::npos);
  EXPECT_NE(ErrorOf("[run]\nname = \"r\"\n").find("base_model must name"), std::string::npos);
  EXPECT_NE(ErrorOf(good + "rounds = 0\n").find("from 1 to 100000"), std::string::npos);
  EXPECT_NE(ErrorOf(good + "round = 3\n").find("round is no setting"), std::string::npos);
  EXPECT_NE(ErrorOf(good + "[lora]\nmodules = \"attn_x\"\n").find("modules"), std::string::npos);
  EXPECT_NE(ErrorOf(good + "[aggregation]\nmin_cohort = 2\n").find("from 3"), std::string::npos);
  EXPECT_NE(ErrorOf(good + "[aggregation]\nring_bits = 20\n").find("16, 24 or 32"),
            std::string::npos);
  EXPECT_NE(ErrorOf(good + "[aggregation]\nmax_cohort = 4\n").find("between"), std::string::npos);
  EXPECT_NE(ErrorOf(good + "[aggregation]\nmax_cohort = 1025\n").find("to 1024"),
            std::string::npos);
  EXPECT_NE(
      ErrorOf(good + "[aggregation]\nmax_cohort = 129\ngraph = \"complete\"\n").find("at most 128"),
      std::string::npos);
  EXPECT_NE(ErrorOf(good + "[aggregation]\ncorrupt_percent = 60\n").find("exceed 90"),
            std::string::npos);
  EXPECT_NE(ErrorOf(good + "[pacing]\ncohorts = 65\n").find("from 1 to 64"), std::string::npos);
  EXPECT_NE(ErrorOf(good + "[training]\nlearning_rate = nan\n").find("learning_rate"),
            std::string::npos);
  EXPECT_NE(ErrorOf(good + "[training]\npacking = \"tight\"\n").find("packed, windows"),
            std::string::npos);
  EXPECT_NE(ErrorOf(good + "[trainin]\n").find("there is no table [trainin]"), std::string::npos);
  EXPECT_NE(ErrorOf("[run\n").find("dir/run.toml:1"), std::string::npos);
}

v1::RunStatus TwoRounds() {
  v1::RunStatus run;
  run.set_run_id("r");
  run.set_state("running");
  v1::RoundStatus* first = run.add_rounds();
  first->set_round(1);
  first->set_phase("published");
  first->set_contributors(4);
  first->set_mean_train_loss(3.25);
  first->set_ended_unix_ms(3000);
  v1::RoundStatus* second = run.add_rounds();
  second->set_round(2);
  second->set_phase("aggregating");
  second->set_session_stage("shares");
  second->set_in_cohort(4);
  return run;
}

TEST(RunViewTest, SaysWhatARoundBroughtAndWhatGoesOn) {
  const v1::RunStatus run = TwoRounds();
  EXPECT_NE(RoundLine(run.rounds(0)).find("4 nodes, train loss 3.250"), std::string::npos);
  EXPECT_EQ(ActivityLine(run), "round 2: aggregating (shares), 0 of 4 uploaded");
  EXPECT_EQ(RunToJson(run)["rounds"][0]["contributors"], 4);
}

TEST(RunViewTest, AbandonedRoundNamesItsReason) {
  v1::RoundStatus round;
  round.set_phase("abandoned");
  round.set_reason("too-few-survivors");
  EXPECT_NE(RoundLine(round).find("too-few-survivors"), std::string::npos);
}

TEST(RunViewTest, FailedRunIsAnError) {
  v1::RunStatus run;
  run.set_state("finished");
  EXPECT_TRUE(HasEnded(run) && EndOf(run).ok());
  run.set_state("failed");
  EXPECT_FALSE(EndOf(run).ok());
  run.set_state("running");
  EXPECT_FALSE(HasEnded(run));
}

}  // namespace
}  // namespace choir::cli
