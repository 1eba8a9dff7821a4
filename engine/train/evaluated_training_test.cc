// Evaluations within a run of training: patience, the best step, and what a restart keeps of them.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/train/test_trainer.h"

namespace choir::engine {
namespace {

// What a held-out loss that falls, rises and rises again does to a run of 6 steps.
class EvaluatedTrainerTest : public TrainerTest {
 protected:
  static TrainConfig EvaluatedConfig(int64_t patience) {
    TrainConfig config = Config();
    config.evaluation = {.every_steps = 1, .patience = patience, .held_out = Sha256Of("held out")};
    return config;
  }

  // Made-up losses by step: 4, 3, 2, 5, 6, 1, ...
  absl::Status RunEvaluated(Trainer& trainer, int64_t steps, const std::string& path) {
    constexpr double kLosses[] = {4, 3, 2, 5, 6, 1, 1.5};
    TrainHooks hooks;
    hooks.evaluate = [&trainer, kLosses]() -> absl::StatusOr<double> {
      return kLosses[trainer.step()];
    };
    hooks.on_evaluation = [this](const EvaluationReport& report) {
      evaluated_.push_back(report.step);
      if (report.is_best) best_.push_back(report.step);
    };
    hooks.should_stop = [&trainer, steps] { return trainer.step() >= steps; };
    return trainer.Run(hooks, {.path = path, .every_steps = 0}, clock_);
  }

  std::vector<int64_t> evaluated_;
  std::vector<int64_t> best_;
};

TEST_F(EvaluatedTrainerTest, PatienceEndsTheRunAndTheBestStepIsKept) {
  const auto trainer = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(RunEvaluated(*trainer, 100, "").ok());
  EXPECT_TRUE(trainer->stopped_early());
  EXPECT_EQ(trainer->step(), 4);
  EXPECT_EQ(evaluated_, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(best_, (std::vector<int64_t>{0, 1, 2}));
  const auto two_steps = Make(EvaluatedConfig(2), Documents(30));
  EXPECT_TRUE(absl::IsCancelled(RunFor(*two_steps, 2, "")));
  EXPECT_EQ(Flatten(*trainer->BestAdapter()), Flatten(*two_steps->CurrentAdapter()));
  EXPECT_NE(Flatten(*trainer->BestAdapter()), Flatten(*trainer->CurrentAdapter()));
}

TEST_F(EvaluatedTrainerTest, EvaluatingDoesNotChangeWhatIsTrained) {
  const auto evaluated = Make(EvaluatedConfig(0), Documents(30));
  ASSERT_TRUE(RunEvaluated(*evaluated, 100, "").ok());
  EXPECT_FALSE(evaluated->stopped_early());
  const auto plain = Make(Config(), Documents(30));
  ASSERT_TRUE(RunFor(*plain, 100, "").ok());
  EXPECT_EQ(StateOf(*evaluated).parameters, StateOf(*plain).parameters);
  EXPECT_EQ(evaluated->evaluations().best_step, 5);
}

TEST_F(EvaluatedTrainerTest, PatienceSurvivesAnInterruptionAtEveryStep) {
  const auto whole = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(RunEvaluated(*whole, 100, "").ok());
  for (int64_t stop = 0; stop <= 4; ++stop) {
    const std::string path = temp_.path() + "/state" + std::to_string(stop);
    const auto first = Make(EvaluatedConfig(2), Documents(30));
    const absl::Status status = RunEvaluated(*first, stop, path);
    EXPECT_EQ(absl::IsCancelled(status), stop < 4) << status;
    const auto second = Make(EvaluatedConfig(2), Documents(30));
    ASSERT_TRUE(second->Restore(*ReadTrainState(path)).ok());
    ASSERT_TRUE(RunEvaluated(*second, 100, path).ok());
    EXPECT_EQ(SerializeTrainState(StateOf(*second)), SerializeTrainState(StateOf(*whole))) << stop;
  }
}

TEST_F(EvaluatedTrainerTest, AnInterruptedEvaluationIsRepeated) {
  const auto whole = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(RunEvaluated(*whole, 100, "").ok());
  const std::string path = temp_.path() + "/state";
  const auto first = Make(EvaluatedConfig(2), Documents(30));
  TrainHooks hooks;
  hooks.evaluate = [&first]() -> absl::StatusOr<double> {
    if (first->step() == 3) return absl::CancelledError("Ctrl-C");
    return 4.0 - static_cast<double>(first->step());
  };
  EXPECT_TRUE(absl::IsCancelled(first->Run(hooks, {.path = path, .every_steps = 0}, clock_)));
  const auto second = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(second->Restore(*ReadTrainState(path)).ok());
  EXPECT_EQ(second->step(), 3);
  ASSERT_TRUE(RunEvaluated(*second, 100, "").ok());
  EXPECT_EQ(evaluated_, (std::vector<int64_t>{0, 1, 2, 3, 4, 3, 4}));
  EXPECT_EQ(SerializeTrainState(StateOf(*second)), SerializeTrainState(StateOf(*whole)));
}

TEST_F(EvaluatedTrainerTest, OtherHeldOutDataOrRhythmIsAnotherRun) {
  const std::string path = temp_.path() + "/state";
  const auto first = Make(EvaluatedConfig(2), Documents(30));
  EXPECT_TRUE(absl::IsCancelled(RunEvaluated(*first, 2, path)));
  const auto state = ReadTrainState(path);
  ASSERT_TRUE(state.ok()) << state.status();
  TrainConfig other = EvaluatedConfig(2);
  other.evaluation.held_out = Sha256Of("other");
  EXPECT_EQ(Make(other, Documents(30))->Restore(*state).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Make(EvaluatedConfig(3), Documents(30))->Restore(*state).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(EvaluatedTrainerTest, BestAdapterNeedsAnEvaluation) {
  EXPECT_EQ(Make(Config(), Documents(3))->BestAdapter().status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace choir::engine
