// The coordinator without gRPC and with a clock of our own: whole rounds, restarts at every step,
// losses, refusals.
#include "coordinator/service/coordinator.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "coordinator/round/round_state.pb.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/test_coordinator.h"
#include "coordinator/service/test_direct_calls.h"
#include "coordinator/strategy/server_optimizer.h"
#include "engine/lora/contribution.h"
#include "proto/trust/documents.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/result_chain.h"

namespace choir::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CoordinatorTest : public testing::Test, protected TestCoordinator {
 protected:
  void StartRun(
      const std::string& strategy, uint32_t rounds,
      const std::function<void(v1::RunConfig&)>& change = [](v1::RunConfig&) {}) {
    v1::RunConfig config = TestRun(*blobs_, strategy, rounds);
    change(config);
    const auto status = coordinator_->StartRun(config);
    ASSERT_TRUE(status.ok()) << status.status();
  }

  // One step of one node, then whatever it made due. False if nothing moved.
  bool StepNode(size_t i) {
    DirectCalls calls(*coordinator_, nodes_[i]->id());
    const absl::StatusOr<bool> moved = nodes_[i]->Step(calls, clock_.now);
    EXPECT_TRUE(moved.ok()) << "node " << i << ": " << moved.status();
    bool worked = false;
    while (coordinator_->DoWork()) worked = true;
    return moved.value_or(false) || worked;
  }
  v1::RunStatus Status() { return coordinator_->GetRun("demo").value(); }
  // Steps all nodes in turn, moving the clock when nobody can do anything, until the run ends.
  // `between` is called after each step with its number.
  void Play(
      const std::function<void(int)>& between = [](int) {},
      const std::function<bool(size_t)>& alive = [](size_t) { return true; }) {
    int step = 0;
    for (int idle = 0; idle < 200 && Status().state() == "running" && !HasFailure();) {
      bool moved = false;
      for (size_t i = 0; i < nodes_.size(); ++i) {
        if (!alive(i)) continue;
        moved = StepNode(i) || moved;
        between(++step);
      }
      idle = moved ? 0 : idle + 1;
      if (!moved) clock_.now += absl::Milliseconds(500);
      coordinator_->Tick();
      while (coordinator_->DoWork()) {
      }
    }
  }

  // The adapter of a version, and what it must be: each version adds the mean of the deltas.
  std::vector<float> AdapterOf(const v1::AdapterVersion& version) {
    const Digest digest = DigestFrom(version.adapter_digest(), "adapter").value();
    return engine::FlattenFactors(ReadAdapterBlob(*blobs_, digest).value(),
                                  engine::TrainedFactors::kBoth);
  }
  std::vector<float> Expected(const std::string& strategy, uint64_t versions,
                              const std::vector<uint64_t>& contributors,
                              const ServerOptimizerConfig& optimizer = {}) {
    VersionState version{TestAdapter()};
    const auto rule = MakeStrategy(strategy).value();
    ServerState state;
    for (uint64_t v = 0; v < versions; ++v) {
      const engine::Contribution contribution = rule->ContributionFor(v);
      std::vector<float> mean(engine::ContributionLength(version.adapter, contribution));
      for (size_t i = 0; i < mean.size(); ++i) {
        for (const uint64_t node : contributors) mean[i] += TestNode::Delta(node, v, i);
        mean[i] /= static_cast<float>(contributors.size());
      }
      const auto update =
          ServerStep(optimizer, mean, engine::ContributionName(contribution), state);
      EXPECT_TRUE(rule->Apply(*update, v, version).ok());
    }
    return engine::Flatten(version.adapter);
  }
  // All B A of a flattened adapter of the test's shape.
  static std::vector<float> ProductsOf(const std::vector<float>& flat) {
    engine::Adapter adapter = TestAdapter();
    EXPECT_TRUE(engine::Unflatten(flat, adapter).ok());
    std::vector<float> out;
    for (const engine::LoraPair& pair : adapter.pairs) {
      for (int64_t i = 0; i < pair.rows * pair.cols; ++i) {
        float sum = 0;
        for (int64_t k = 0; k < pair.rank; ++k) {
          sum += pair.b[static_cast<size_t>(i / pair.cols * pair.rank + k)] *
                 pair.a[static_cast<size_t>(k * pair.cols + i % pair.cols)];
        }
        out.push_back(sum);
      }
    }
    return out;
  }
  std::vector<v1::AdapterVersion> CheckedChain() {
    v1::ListAdapterVersionsRequest request;
    request.set_run_id("demo");
    request.set_after_version(-1);
    const v1::ListAdapterVersionsResponse listed = coordinator_->ListVersions(request).value();
    const trust::PublicKey key = loaded_->coordinator_key.public_key();
    std::vector<v1::AdapterVersion> versions;
    std::optional<secagg::ChainHead> head;
    for (const std::string& bytes : listed.round_results()) {
      const auto result = secagg::DecodeRoundResult(AsBytes(bytes)).value();
      const auto next = secagg::FollowChain(head, key, result);
      EXPECT_TRUE(next.ok()) << next.status();
      head = *next;
    }
    std::string parent;
    for (const v1::SignedDocument& document : listed.versions()) {
      versions.push_back(
          trust::OpenAs<v1::AdapterVersion>(document, trust::kAdapterDomain, key).value());
      EXPECT_EQ(versions.back().parent_digest(), parent);
      EXPECT_EQ(versions.back().version(), versions.size() - 1);
      parent = std::string(AsChars(trust::DocumentDigest(document)));
    }
    if (head.has_value()) {
      EXPECT_EQ(versions.back().round_result_digest(), AsChars(head->hash));
    }
    return versions;
  }
  // 24-bit words over a range of 100: a step is 6e-6, and up to four of them round apart.
  static testing::Matcher<const std::vector<float>&> Near(const std::vector<float>& want) {
    return testing::Pointwise(testing::FloatNear(4e-5f), want);
  }
};

class CoordinatorStrategyTest : public CoordinatorTest,
                                public testing::WithParamInterface<std::string> {};

TEST_P(CoordinatorStrategyTest, RoundsAddTheMeanOfTheDeltas) {
  AddNodes(4);
  StartRun(GetParam(), 4);
  Play();
  EXPECT_EQ(Status().state(), "finished");
  const std::vector<v1::AdapterVersion> versions = CheckedChain();
  ASSERT_EQ(versions.size(), 5u);
  EXPECT_EQ(versions.back().contributors(), 4u);
  EXPECT_NEAR(versions.back().mean_train_loss(), 2.0, 1e-6);
  for (uint64_t v = 0; v < versions.size(); ++v) {
    const std::vector<float> found = AdapterOf(versions[v]);
    const std::vector<float> wanted = Expected(GetParam(), v, {0, 1, 2, 3});
    // A decomposition may turn a pair of factors, and amplifies the fixed point's rounding; their
    // product stays.
    if (GetParam() != "latent" && GetParam() != "sketch") {
      EXPECT_THAT(found, Near(wanted)) << v;
    } else {
      EXPECT_THAT(ProductsOf(found),
                  testing::Pointwise(testing::FloatNear(2e-3f), ProductsOf(wanted)))
          << v;
    }
  }
  EXPECT_EQ(Status().rounds().rbegin()->trained_tokens(), 40u);
}

INSTANTIATE_TEST_SUITE_P(Strategies, CoordinatorStrategyTest, testing::ValuesIn(StrategyNames()),
                         [](const auto& entry) {
                           std::string name = entry.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The optimizer's moments are durable with the version that they belong to.
TEST_F(CoordinatorTest, ServerOptimizerGoesOnAfterEachRestart) {
  AddNodes(4);
  StartRun("alternating", 4, [](v1::RunConfig& config) {
    config.mutable_aggregation()->set_server_optimizer("fedyogi");
    config.mutable_aggregation()->set_server_learning_rate(0.5f);
    // Near the updates: rounding errors of the fixed point stay small.
    config.mutable_aggregation()->set_server_tau(0.1f);
  });
  Play([&](int step) {
    if (step % 5 == 0) Restart();
  });
  EXPECT_EQ(Status().state(), "finished");
  const std::vector<v1::AdapterVersion> versions = CheckedChain();
  ASSERT_EQ(versions.size(), 5u);
  const ServerOptimizerConfig optimizer{ServerOptimizerKind::kFedYogi, 0.5, double{0.9f},
                                        double{0.99f}, double{0.1f}};
  EXPECT_THAT(AdapterOf(versions[4]), Near(Expected("alternating", 4, {0, 1, 2, 3}, optimizer)));
  EXPECT_NE(versions[4].server_state_digest(), versions[2].server_state_digest());
}

// The gate stands in front of the second version; the round after that passes.
TEST_F(CoordinatorTest, GateRefusesAWorseVersionAndTheNextRoundWorks) {
  AddNodes(4);
  int asked = 0;
  coordinator_->SetEvaluate([&asked](const EvaluationJob& job) -> absl::StatusOr<double> {
    EXPECT_TRUE(std::filesystem::exists(job.model_path));
    EXPECT_EQ(ReadFile(job.data_path, 100).value(), "held out");
    constexpr double kNlls[] = {2.0, 1.5, 1.75, 1.25};  // version 0, 1, the bad one, 2
    return kNlls[asked++];
  });
  ASSERT_TRUE(blobs_->PutWhole(Sha256Of(std::string_view("held out")), AsBytes("held out")).ok());
  StartRun("fedavg", 2, [](v1::RunConfig& config) {
    const Digest digest = Sha256Of(std::string_view("held out"));
    config.mutable_gate()->set_data_digest(std::string(AsText(digest)));
    config.mutable_gate()->set_margin(0.125f);
  });
  Play();
  EXPECT_EQ(asked, 4);
  const v1::RunStatus status = Status();
  EXPECT_EQ(status.state(), "finished");
  ASSERT_EQ(status.rounds_size(), 3);
  EXPECT_EQ(status.rounds(0).held_out_nll(), 1.5);
  EXPECT_EQ(status.rounds(1).phase(), "abandoned");
  EXPECT_EQ(status.rounds(1).reason(), "worse-than-parent");
  EXPECT_THAT(status.rounds(1).reason_text(), HasSubstr("1.7500 after the merge, 1.5000 before"));
  EXPECT_EQ(status.rounds(2).held_out_nll(), 1.25);
  EXPECT_EQ(CheckedChain().size(), 3u);
  for (const auto& node : nodes_) EXPECT_THAT(node->aborted(), ElementsAre("worse-than-parent"));
}

TEST_F(CoordinatorTest, RestartAfterEveryStepChangesNothing) {
  AddNodes(4);
  StartRun("fedavg", 2);
  int restarts = 0;
  Play([&](int) {
    Restart();
    ++restarts;
  });
  EXPECT_EQ(Status().state(), "finished");
  EXPECT_GT(restarts, 50);
  const std::vector<v1::AdapterVersion> versions = CheckedChain();
  ASSERT_EQ(versions.size(), 3u);
  EXPECT_THAT(AdapterOf(versions[2]), Near(Expected("fedavg", 2, {0, 1, 2, 3})));
  for (const auto& node : nodes_) EXPECT_THAT(node->aborted(), IsEmpty());
}

// A release before pieces kept the round whole, and nothing that an open session could go on from.
TEST_F(CoordinatorTest, UpgradeAmidASessionGivesItUpAndTheRunGoesOn) {
  AddNodes(4);
  StartRun("fedavg", 1);
  Play([&](int step) {
    if (step != 12) return;
    ASSERT_EQ(Status().rounds(0).in_cohort(), 4u);
    Batch old;
    const StoredRun run = store_->ListRuns()->at(0);
    stored::Round round;
    ASSERT_TRUE(round.ParseFromString(run.record.round));
    round.set_format(1);
    const std::vector<PieceRecord> pieces = store_->ListPieces(RoundOwner("demo")).value();
    for (const PieceRecord& piece : pieces) {
      if (piece.key[0] == 'c') {
        ASSERT_TRUE(round.add_cohorts()->ParseFromString(piece.value));
        continue;
      }
      ASSERT_TRUE(round.add_members()->ParseFromString(piece.value));
      round.mutable_members()->rbegin()->set_node_id(piece.key.substr(1));
    }
    old.run = {run.record, run.revision};
    old.run->record.round = round.SerializeAsString();
    const SessionRecord session = store_->ListSessions("demo", 1)->at(0);
    old.pieces = {{RoundOwner("demo"), true, {}}, {SessionOwner(session.session_id), true, {}}};
    ASSERT_TRUE(store_->Commit(old).ok());
    Restart();
    Restart();
  });
  EXPECT_EQ(Status().state(), "finished");
  EXPECT_EQ(Status().rounds(0).reason(), "damaged-journal");
  EXPECT_EQ(Status().rounds(1).phase(), "published");
}

TEST_F(CoordinatorTest, SeveralCohortsAreMergedIntoOneVersion) {
  AddNodes(8);
  v1::RunConfig config = TestRun(*blobs_, "fedavg", 1);
  config.mutable_pacing()->set_cohorts(2);
  ASSERT_TRUE(coordinator_->StartRun(config).ok());
  Play([&](int step) {
    if (step % 7 == 0) Restart();
  });
  EXPECT_EQ(Status().state(), "finished");
  const std::vector<v1::AdapterVersion> versions = CheckedChain();
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[1].contributors(), 8u);
  EXPECT_THAT(AdapterOf(versions[1]), Near(Expected("fedavg", 1, {0, 1, 2, 3, 4, 5, 6, 7})));
  EXPECT_EQ(store_->LastVersion("demo").value()->results.size(), 2u);
}

TEST_F(CoordinatorTest, SilentNodeIsLeftOutOfTheSum) {
  AddNodes(4);
  StartRun("fedavg", 1);
  // Node 3 falls silent once it is in the cohort: it checked in, joined and sent its keys.
  int steps_of_3 = 0;
  Play([](int) {}, [&](size_t i) { return i != 3 || steps_of_3++ < 3; });
  EXPECT_EQ(Status().state(), "finished");
  const std::vector<v1::AdapterVersion> versions = CheckedChain();
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[1].contributors(), 3u);
  EXPECT_THAT(AdapterOf(versions[1]), Near(Expected("fedavg", 1, {0, 1, 2})));
}

TEST_F(CoordinatorTest, CohortThatLosesTooManyIsAbandonedWithItsReasonAndTheNextRoundSucceeds) {
  AddNodes(4);
  StartRun("fedavg", 1);
  const auto in_masking = [&] {
    const auto rounds = Status().rounds();
    return !rounds.empty() && rounds.rbegin()->round() == 1 &&
           rounds.rbegin()->session_stage() == "masking";
  };
  bool lost = false;
  Play([&](int) { lost = lost || in_masking(); },
       [&](size_t i) { return !lost || Status().rounds().rbegin()->round() > 1 || i < 2; });
  EXPECT_EQ(Status().state(), "finished");
  EXPECT_EQ(Status().rounds(0).phase(), "abandoned");
  EXPECT_EQ(Status().rounds(0).reason(), "too-few-survivors");
  EXPECT_EQ(Status().rounds().rbegin()->phase(), "published");
  EXPECT_EQ(CheckedChain().size(), 2u);
}

TEST_F(CoordinatorTest, StoppedRunAbortsItsSessions) {
  AddNodes(4);
  StartRun("fedavg", 1);
  bool stopped = false;
  Play([&](int) {
    if (stopped || Status().rounds().empty()) return;
    if (Status().rounds().rbegin()->session_stage() != "masking") return;
    stopped = coordinator_->StopRun("demo", "enough").ok();
  });
  EXPECT_EQ(Status().state(), "stopped");
  EXPECT_EQ(Status().reason(), "enough");
  for (size_t i = 0; i < nodes_.size(); ++i) StepNode(i);
  EXPECT_THAT(nodes_[0]->aborted(), ElementsAre("cancelled"));
  Restart();
  EXPECT_EQ(Status().state(), "stopped");
}

TEST_F(CoordinatorTest, LostSpoolAbandonsTheRoundWithItsReason) {
  AddNodes(4);
  StartRun("fedavg", 1);
  bool lost = false;
  Play([&](int) {
    if (lost || Status().rounds().empty()) return;
    if (Status().rounds().rbegin()->session_stage() != "signing") return;
    lost = true;
    std::filesystem::remove_all(federation_.folder().Spool());
    Restart();
  });
  EXPECT_EQ(Status().state(), "finished");
  EXPECT_EQ(Status().rounds(0).reason(), "damaged-journal");
}

// The sum's place is taken by a folder, as an unwritable disk would take it.
TEST_F(CoordinatorTest, SumThatCannotBeWrittenHasItsOwnReasonAndTheRunGoesOn) {
  AddNodes(4);
  StartRun("fedavg", 1);
  Play([&](int) {
    const v1::RoundStatus round = *Status().rounds().rbegin();
    if (round.round() != 1 || round.session_stage() != "signing") return;
    const std::string folder = federation_.folder().Spool() + "/demo/1";
    for (const auto& session : std::filesystem::directory_iterator(folder)) {
      ASSERT_TRUE(MakeDirectories(session.path().string() + "/sum/full").ok());
    }
  });
  EXPECT_EQ(Status().state(), "finished");
  EXPECT_EQ(Status().rounds(0).phase(), "abandoned");
  EXPECT_EQ(Status().rounds(0).reason(), "not-stored");
  EXPECT_THAT(Status().rounds(0).reason_text(), HasSubstr("the next round tries again by itself"));
  EXPECT_EQ(Status().rounds(1).phase(), "published");
  for (const auto& node : nodes_) EXPECT_THAT(node->aborted(), ElementsAre("not-stored"));
}

// One of four nodes has a clock that is `hours` off; "" where it takes part all the same.
struct Skew {
  int hours;
  const char* reason;
};

class ClockSkewTest : public CoordinatorTest, public testing::WithParamInterface<Skew> {};

TEST_P(ClockSkewTest, NodeGoesWithoutOrTakesPartAndTheSumIsExact) {
  AddNodes(4);
  StartRun("fedavg", 1);
  absl::Status end;
  for (int idle = 0; idle < 200 && Status().state() == "running";) {
    bool moved = false;
    for (size_t i = 0; i < 3; ++i) moved = StepNode(i) || moved;
    DirectCalls calls(*coordinator_, nodes_[3]->id());
    if (end.ok()) {
      const absl::StatusOr<bool> step =
          nodes_[3]->Step(calls, clock_.now + absl::Hours(GetParam().hours));
      end = step.status();
      moved = moved || (step.ok() && *step);
    }
    idle = moved ? 0 : idle + 1;
    if (!moved) clock_.now += absl::Milliseconds(500);
    coordinator_->Tick();
    while (coordinator_->DoWork()) {
    }
  }
  EXPECT_EQ(Status().state(), "finished");
  const bool takes_part = *GetParam().reason == '\0';
  const auto reason = secagg::ReasonOf(end);
  EXPECT_EQ(reason.has_value() ? secagg::AbortReasonName(*reason) : "", GetParam().reason) << end;
  const std::vector<v1::AdapterVersion> versions = CheckedChain();
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[1].contributors(), takes_part ? 4u : 3u);
  EXPECT_THAT(AdapterOf(versions[1]), Near(takes_part ? Expected("fedavg", 1, {0, 1, 2, 3})
                                                      : Expected("fedavg", 1, {0, 1, 2})));
}

// A session lasts a day. Nothing in it says when it began: a clock that is behind looks at TLS's
// certificates alone.
INSTANTIATE_TEST_SUITE_P(Hours, ClockSkewTest,
                         testing::Values(Skew{25, "expired"}, Skew{23, ""}, Skew{-25, ""}),
                         [](const auto& entry) {
                           return fmt::format("{}{}", entry.param.hours < 0 ? "Behind" : "Ahead",
                                              std::abs(entry.param.hours));
                         });

TEST_F(CoordinatorTest, VersionsOfManyCohortsComeInPagesThatFitAMessage) {
  StartRun("fedavg", 100);
  const std::string document = store_->LastVersion("demo").value()->document;
  Batch batch;
  for (uint64_t v = 1; v <= 9; ++v) {
    batch.versions.push_back({"demo", v, document, {std::string(900'000, 'r')}});
  }
  // Alone beyond the page's size, and still sent.
  batch.versions.push_back({"demo", 10, document, {std::string(2'500'000, 'r')}});
  ASSERT_TRUE(store_->Commit(batch).ok());
  v1::ListAdapterVersionsRequest request;
  request.set_run_id("demo");
  int versions = 0;
  int results = 0;
  for (;;) {
    request.set_after_version(versions - 1);
    const auto page = coordinator_->ListVersions(request);
    ASSERT_TRUE(page.ok()) << page.status();
    if (page->versions_size() == 0) break;
    EXPECT_LT(page->ByteSizeLong(), size_t{4} << 20);
    versions += page->versions_size();
    results += page->round_results_size();
  }
  EXPECT_EQ(versions, 11);
  EXPECT_EQ(results, 10);
}

TEST_F(CoordinatorTest, MessagesThatFitNothingAreRefused) {
  AddNodes(1);
  const auto code = [&](std::string session, uint32_t kind, std::string body) {
    v1::SessionMessage message;
    message.set_session_id(std::move(session));
    message.set_kind(kind);
    message.set_body(std::move(body));
    return coordinator_->TakeMessage(nodes_[0]->id(), message).code();
  };
  EXPECT_EQ(code("short", 2, "x"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(16, 'x'), 2, "x"), absl::StatusCode::kNotFound);
  v1::MaskedInputChunk chunk;
  chunk.set_session_id(std::string(16, 'x'));
  EXPECT_FALSE(coordinator_->TakeUpload(nodes_[0]->id(), chunk).ok());
  chunk.set_body("\x07garbage");
  EXPECT_FALSE(coordinator_->TakeUpload(nodes_[0]->id(), chunk).ok());
}

}  // namespace
}  // namespace choir::coordinator
