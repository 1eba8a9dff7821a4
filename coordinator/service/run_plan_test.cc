// What a run's configuration must pass before it begins.
#include "coordinator/service/run_plan.h"

#include <cmath>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/service/test_coordinator.h"

namespace choir::coordinator {
namespace {

using testing::HasSubstr;

class RunPlanTest : public testing::Test, protected TestCoordinator {};

TEST_F(RunPlanTest, SameRunAgainIsTheSameAndAnotherIsRefused) {
  const v1::RunConfig run = TestRun(*blobs_, "fedavg", 2);
  EXPECT_TRUE(coordinator_->StartRun(run).ok());
  EXPECT_TRUE(coordinator_->StartRun(run).ok());
  clock_.now += absl::Hours(1);
  EXPECT_TRUE(coordinator_->StartRun(run).ok());
  EXPECT_EQ(coordinator_->StartRun(TestRun(*blobs_, "fedavg", 3)).status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(RunPlanTest, OperatorSaysHowLongARunLives) {
  v1::RunConfig config = TestRun(*blobs_, "fedavg", 1);
  const auto from_now = [&](absl::Duration life) { return absl::ToUnixSeconds(clock_.now + life); };
  const auto life_of = [&](int64_t not_after) {
    config.set_not_after_unix_s(not_after);
    return CompleteRunConfig(config, loaded_->manifest, *blobs_, clock_.now);
  };
  const int64_t week = from_now(absl::Hours(24 * 7));
  EXPECT_EQ(life_of(week)->not_after_unix_s(), week);
  EXPECT_EQ(life_of(0)->not_after_unix_s(), from_now(absl::Hours(24 * 90)));
  for (const int64_t bad : {from_now(-absl::Seconds(1)), from_now(absl::Hours(24 * 365 * 11)),
                            std::numeric_limits<int64_t>::max()}) {
    const absl::Status status = life_of(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(status.ToString(), HasSubstr("at most 10 years"));
  }
}

TEST_F(RunPlanTest, CohortsAbove128StandOnARegularGraph) {
  v1::RunConfig config = TestRun(*blobs_, "fedavg", 1);
  const auto session_of = [&](const char* graph, uint32_t largest) {
    config.mutable_aggregation()->set_graph(graph);
    config.mutable_aggregation()->set_max_cohort(largest);
    const auto run = CompleteRunConfig(config, loaded_->manifest, *blobs_, clock_.now);
    EXPECT_TRUE(run.ok()) << run.status();
    return SessionTemplate(*run, run->num_values(), double{run->aggregation().clip_norm()});
  };
  EXPECT_EQ(session_of("", 128).graph, secagg::GraphKind::kComplete);
  EXPECT_EQ(session_of("auto", 1000).graph, secagg::GraphKind::kRegular);
  EXPECT_EQ(session_of("auto", 1000).corrupt_percent, 5);
  EXPECT_EQ(session_of("auto", 1000).dropout_percent, 20);
  EXPECT_EQ(session_of("regular", 8).graph, secagg::GraphKind::kRegular);
  config.mutable_aggregation()->set_graph("complete");
  EXPECT_THAT(CompleteRunConfig(config, loaded_->manifest, *blobs_, clock_.now)->DebugString(),
              HasSubstr("complete"));
  config.mutable_aggregation()->set_max_cohort(129);
  EXPECT_THAT(CompleteRunConfig(config, loaded_->manifest, *blobs_, clock_.now).status().ToString(),
              HasSubstr("up to 128"));
}

TEST_F(RunPlanTest, RunThatCannotBeIsRefusedByField) {
  const auto refused = [&](const std::function<void(v1::RunConfig&)>& change) {
    v1::RunConfig config = TestRun(*blobs_, "fedavg", 1);
    change(config);
    return coordinator_->StartRun(config).status().ToString();
  };
  EXPECT_THAT(refused([](auto& c) { c.set_run_id("Bad Id"); }), HasSubstr("run_id"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_min_cohort(2); }),
              HasSubstr("min_cohort"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_strategy("sum"); }),
              HasSubstr("alternating, fedavg"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_ring_bits(13); }),
              HasSubstr("aggregation"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_clip_norm(NAN); }),
              HasSubstr("aggregation"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_graph("ring"); }),
              HasSubstr("aggregation.graph"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_dropout_percent(45); }),
              HasSubstr("must not exceed 90"));
  EXPECT_THAT(refused([](auto& c) { c.set_num_values(7); }), HasSubstr("num_values"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_server_optimizer("sgd"); }),
              HasSubstr("fedadagrad"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_server_beta2(1); }),
              HasSubstr("server_beta2"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_trim(0.5f); }), HasSubstr("trim"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_aggregation()->set_strategy("sketch"); }),
              HasSubstr("give a multiple"));
  EXPECT_THAT(refused([](auto& c) {
                c.mutable_aggregation()->set_strategy("sketch");
                c.mutable_aggregation()->set_server_optimizer("fedadam");
              }),
              HasSubstr("takes none but plain"));
  EXPECT_THAT(refused([](auto& c) {
                c.mutable_aggregation()->set_strategy("latent");
                c.mutable_aggregation()->set_slices(true);
              }),
              HasSubstr("aggregation.slices"));
  EXPECT_THAT(refused([](auto& c) {
                c.mutable_gate()->set_data_digest(c.initial_adapter_digest());
                c.mutable_aggregation()->set_strategy("share-a");
              }),
              HasSubstr("nothing to evaluate"));
  EXPECT_THAT(
      refused([](auto& c) { c.mutable_gate()->set_data_digest(c.initial_adapter_digest()); }),
      HasSubstr("cannot evaluate"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_gate()->set_data_digest(std::string(32, 'x')); }),
              HasSubstr("upload them first"));
  EXPECT_THAT(refused([](auto& c) { c.set_base_model_digest(std::string(32, 'x')); }),
              HasSubstr("upload it first"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_pacing()->set_rounds(0); }), HasSubstr("rounds"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_training()->set_learning_rate(INFINITY); }),
              HasSubstr("training.learning_rate"));
  EXPECT_THAT(refused([](auto& c) { c.mutable_training()->set_context_tokens(0); }),
              HasSubstr("training.context_tokens"));
}

}  // namespace
}  // namespace choir::coordinator
