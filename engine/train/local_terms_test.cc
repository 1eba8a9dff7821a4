// What of an adapter a run of training moves, and what holds it back.
#include "engine/train/local_terms.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/lora/latent.h"
#include "engine/train/test_trainer.h"

namespace choir::engine {
namespace {

double DistanceFrom(const Adapter& x, const Adapter& y) {
  double squared = 0;
  for (const float d : Flatten(*Subtract(x, y))) squared += double{d} * double{d};
  return std::sqrt(squared);
}

TEST_F(TrainerTest, ProximalTermIsItsFormulaInTheFirstStepsThatItMatters) {
  // Without weight decay and clipping, at the start the term is zero and the first step the same;
  // in the second the gradient is the loss's plus mu (w - w_start).
  TrainConfig config = Config();
  config.steps = 1;
  config.max_gradient_norm = 0;
  const auto plain = Make(config, Documents(10));
  ASSERT_TRUE(RunFor(*plain, 100, "").ok());
  config.proximal_mu = 3;
  const auto near = Make(config, Documents(10));
  ASSERT_TRUE(RunFor(*near, 100, "").ok());
  EXPECT_EQ(StateOf(*near).parameters, StateOf(*plain).parameters);
}

TEST_F(TrainerTest, ProximalTermHoldsTheAdapterNearItsStart) {
  TrainConfig config = Config();
  config.steps = 20;
  config.max_gradient_norm = 0;
  double last = 1e30;
  for (const double mu : {0.0, 1.0, 100.0}) {
    config.proximal_mu = mu;
    const auto trainer = Make(config, Documents(10));
    ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
    const double distance = DistanceFrom(*trainer->CurrentAdapter(), start_);
    EXPECT_GT(distance, 0) << mu;
    EXPECT_LT(distance, last) << mu;
    last = distance;
  }
}

TEST_F(TrainerTest, OnlyTheWindowsComponentsMove) {
  TrainConfig config = Config();
  config.window = {.first = 1, .count = 1, .of = 2};
  const auto trainer = Make(config, Documents(10));
  ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
  const Adapter trained = *trainer->CurrentAdapter();
  bool moved = false;
  for (size_t p = 0; p < trained.pairs.size(); ++p) {
    const LoraPair& now = trained.pairs[p];
    const LoraPair& then = start_.pairs[p];
    for (int64_t i = 0; i < now.cols; ++i) {
      EXPECT_EQ(now.a[static_cast<size_t>(i)], then.a[static_cast<size_t>(i)]);
    }
    for (int64_t i = 0; i < now.rows; ++i) {
      EXPECT_EQ(now.b[static_cast<size_t>(2 * i)], then.b[static_cast<size_t>(2 * i)]);
      moved = moved || now.b[static_cast<size_t>(2 * i + 1)] != 0.0f;
    }
  }
  EXPECT_TRUE(moved);
}

TEST(ComponentWindowTest, GoesOnFromTheFirstPastTheLast) {
  const ComponentWindow window{.first = 3, .count = 2, .of = 4};
  EXPECT_TRUE(window.Contains(3));
  EXPECT_TRUE(window.Contains(0));
  EXPECT_FALSE(window.Contains(1));
  EXPECT_FALSE(window.Contains(2));
  EXPECT_TRUE(ComponentWindow{}.Contains(7));
}

TEST_F(TrainerTest, OnlyTheTrainedFactorsMove) {
  TrainConfig config = Config();
  config.factors = TrainedFactors::kB;
  const auto trainer = Make(config, Documents(30));
  ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
  const auto trained = trainer->CurrentAdapter();
  ASSERT_TRUE(trained.ok());
  EXPECT_EQ(FlattenFactors(*trained, TrainedFactors::kA),
            FlattenFactors(start_, TrainedFactors::kA));
  EXPECT_NE(FlattenFactors(*trained, TrainedFactors::kB),
            FlattenFactors(start_, TrainedFactors::kB));
}

// The core's whole way: every step is AdamW on R alone, B stays B0 R, and a run that was killed
// goes on with the same bits.
class CoreTrainerTest : public TrainerTest {
 protected:
  void SetUp() override {
    TrainerTest::SetUp();
    if (IsSkipped()) return;
    for (LoraPair& pair : start_.pairs) {
      for (size_t i = 0; i < pair.b.size(); ++i) {
        pair.b[i] = 0.01f * static_cast<float>(std::sin(static_cast<double>(i)));
      }
    }
    LatentStart latent = *MakeLatent(start_);
    start_ = latent.adapter;
    basis_ = latent.basis;
  }
  std::unique_ptr<Trainer> MakeCore(TrainConfig config) {
    config.factors = TrainedFactors::kB;
    TrainingDataOptions options;
    options.context_tokens = config.context_tokens;
    auto data = PackDocuments(Documents(10), options);
    auto trainer =
        Trainer::Create({*model_, Sha256Of("model"), *backend_, *weights_, start_, &basis_}, config,
                        *std::move(data));
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return *std::move(trainer);
  }
  Adapter basis_;
};

TEST_F(CoreTrainerTest, MovesTheCoresAndNothingElse) {
  TrainConfig config = Config();
  config.steps = 12;
  const auto trainer = MakeCore(config);
  std::vector<double> losses;
  ASSERT_TRUE(RunFor(*trainer, 100, "", &losses).ok());
  EXPECT_LT(losses.back(), losses.front());
  const Adapter trained = *trainer->CurrentAdapter();
  EXPECT_EQ(FlattenFactors(trained, TrainedFactors::kA),
            FlattenFactors(start_, TrainedFactors::kA));
  const std::vector<float> delta = *trainer->CoreDelta();
  ASSERT_EQ(delta.size(), CoreLength(start_));
  // B = B0 (R + delta), to f32's rounding.
  Adapter wanted = start_;
  std::vector<float> core = CoreOf(start_, basis_);
  for (size_t i = 0; i < core.size(); ++i) core[i] += delta[i];
  ASSERT_TRUE(SetCore(wanted, basis_, core).ok());
  EXPECT_LT(DistanceFrom(trained, wanted), 1e-5);
  EXPECT_GT(DistanceFrom(trained, start_), 1e-3);
}

// With AdamW's first step every element moves by the learning rate, against its gradient's sign.
TEST_F(CoreTrainerTest, FirstStepIsOfTheLearningRateInEveryElementOfR) {
  TrainConfig config = Config();
  config.steps = 1;
  config.adamw.weight_decay = 0;
  config.schedule = {.peak = 1e-3};
  const auto trainer = MakeCore(config);
  ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
  const auto delta = trainer->CoreDelta();
  ASSERT_TRUE(delta.ok()) << delta.status();
  for (const float moved : *delta) {
    EXPECT_NEAR(std::abs(double{moved}), 1e-3, 1e-5);
  }
}

TEST_F(CoreTrainerTest, ResumedRunEqualsTheUninterruptedOneBitForBit) {
  const auto whole = MakeCore(Config());
  ASSERT_TRUE(RunFor(*whole, 100, "").ok());
  const std::string path = temp_.path() + "/state";
  EXPECT_TRUE(absl::IsCancelled(RunFor(*MakeCore(Config()), 3, path)));
  const auto second = MakeCore(Config());
  ASSERT_TRUE(second->Restore(*ReadTrainState(path)).ok());
  ASSERT_TRUE(RunFor(*second, 100, path).ok());
  EXPECT_EQ(SerializeTrainState(StateOf(*second)), SerializeTrainState(StateOf(*whole)));
  EXPECT_EQ(*second->CoreDelta(), *whole->CoreDelta());
}

TEST_F(CoreTrainerTest, BadBasisIsRefused) {
  basis_.pairs[0].b.assign(basis_.pairs[0].b.size(), 0.0f);
  TrainConfig config = Config();
  config.factors = TrainedFactors::kB;
  TrainingDataOptions options;
  options.context_tokens = config.context_tokens;
  EXPECT_EQ(Trainer::Create({*model_, Sha256Of("model"), *backend_, *weights_, start_, &basis_},
                            config, *PackDocuments(Documents(10), options))
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace choir::engine
