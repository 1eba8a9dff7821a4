#include <fstream>
#include <limits>

#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"
#include "node/task/adapter_library.h"
#include "node/task/model_library.h"
#include "node/task/round_counter.h"
#include "node/task/task_check.h"
#include "node/task/work_folder.h"
#include "proto/trust/documents.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/result_chain.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

using trust::SigningKey;

SigningKey CoordinatorKey() {
  return SigningKey::FromSeed(std::array<uint8_t, 32>{7});
}

// An offer that holds, to be spoiled one field at a time.
struct Offer {
  v1::Manifest manifest;
  v1::RunConfig config;
  v1::RoundTask task;
  v1::AdapterVersion version;

  Offer() {
    const std::string federation(32, 'f');
    manifest.set_federation_id(federation);
    manifest.set_coordinator_key(std::string(AsChars(CoordinatorKey().public_key())));
    const int64_t later = absl::ToUnixSeconds(absl::Now() + absl::Hours(1));
    config.set_federation_id(federation);
    config.set_run_id("r");
    config.set_base_model_digest(std::string(32, 'b'));
    config.set_base_model_bytes(10);
    config.set_architecture("llama");
    config.set_num_values(6);
    config.set_not_after_unix_s(later);
    config.mutable_training()->set_local_steps(1);
    config.mutable_training()->set_batch(1);
    config.mutable_training()->set_context_tokens(8);
    config.mutable_training()->set_learning_rate(0.1f);
    config.mutable_aggregation()->set_min_cohort(4);
    task.set_federation_id(federation);
    task.set_run_id("r");
    task.set_round(1);
    task.set_adapter_digest(std::string(32, 'a'));
    task.set_adapter_bytes(10);
    task.set_trained_factors("both");
    task.set_not_after_unix_s(later);
    version.set_federation_id(federation);
    version.set_run_id("r");
    version.set_adapter_digest(task.adapter_digest());
  }

  [[nodiscard]] absl::StatusOr<CheckedTask> Check(const SigningKey& key = CoordinatorKey()) {
    v1::CheckInResponse::Task offer;
    *offer.mutable_run_config() = trust::SignDocument(key, trust::kRunDomain, config);
    if (task.run_config_digest().empty()) {
      task.set_run_config_digest(std::string(AsChars(trust::DocumentDigest(offer.run_config()))));
    }
    *offer.mutable_task() = trust::SignDocument(key, trust::kTaskDomain, task);
    *offer.mutable_adapter_version() = trust::SignDocument(key, trust::kAdapterDomain, version);
    return CheckTask(offer, manifest, absl::Now());
  }
};

TEST(TaskCheckTest, AcceptsWhatHolds) {
  const auto checked = Offer().Check();
  EXPECT_TRUE(checked.ok()) << checked.status();
}

TEST(TaskCheckTest, ForeignSignatureIsRefused) {
  EXPECT_EQ(Offer().Check(SigningKey::FromSeed(std::array<uint8_t, 32>{8})).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST(TaskCheckTest, PartsThatDoNotFitEachOtherAreRefused) {
  const auto refused = [](auto spoil) {
    Offer offer;
    spoil(offer);
    return !offer.Check().ok();
  };
  EXPECT_TRUE(refused([](Offer& o) { o.task.set_run_config_digest(std::string(32, 'x')); }));
  EXPECT_TRUE(refused([](Offer& o) { o.version.set_adapter_digest(std::string(32, 'x')); }));
  EXPECT_TRUE(refused([](Offer& o) { o.version.set_version(3); }));
  EXPECT_TRUE(refused([](Offer& o) { o.task.set_run_id("other"); }));
  EXPECT_TRUE(refused([](Offer& o) { o.config.set_federation_id("other"); }));
  EXPECT_TRUE(refused([](Offer& o) {
    for (auto* id :
         {o.config.mutable_run_id(), o.task.mutable_run_id(), o.version.mutable_run_id()}) {
      *id = "../../etc";
    }
  }));
  EXPECT_TRUE(refused([](Offer& o) { o.manifest.add_base_model_digests(std::string(32, 'x')); }));
  EXPECT_TRUE(refused([](Offer& o) { o.manifest.set_min_cohort(5); }));
  EXPECT_TRUE(refused([](Offer& o) { o.task.set_not_after_unix_s(1); }));
  EXPECT_TRUE(refused([](Offer& o) { o.task.set_trained_factors("c"); }));
  EXPECT_TRUE(refused([](Offer& o) { o.config.mutable_training()->set_context_tokens(0); }));
  EXPECT_TRUE(refused([](Offer& o) { o.config.mutable_training()->set_learning_rate(-1); }));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(refused([](Offer& o) { o.config.mutable_training()->set_learning_rate(kInfinity); }));
  EXPECT_TRUE(refused([](Offer& o) { o.config.mutable_training()->set_weight_decay(-kInfinity); }));
}

TEST(TaskCheckTest, RunBelowTheManifestsPrivacyFloorIsRefused) {
  Offer offer;
  offer.manifest.mutable_privacy()->set_min_noise_multiplier(0.5);
  EXPECT_EQ(secagg::ReasonOf(offer.Check().status()), secagg::AbortReason::kPrivacyBelowFloor);
  offer.manifest.mutable_privacy()->set_min_noise_multiplier(0);
  EXPECT_TRUE(offer.Check().ok());
}

TEST(TaskCheckTest, AdapterOfZerosOrAnotherSizeIsRefused) {
  Offer offer;
  const CheckedTask task = offer.Check().value();
  engine::Adapter adapter;
  adapter.architecture = "llama";
  adapter.alpha = 1;
  adapter.pairs.push_back({"blk.0.attn_q.weight", 4, 2, 1, {0, 0}, {0, 0, 0, 0}});
  EXPECT_FALSE(CheckTaskAdapter(task, adapter).ok());
  adapter.pairs[0].a = {1, 2};
  EXPECT_TRUE(CheckTaskAdapter(task, adapter).ok());
  adapter.pairs[0].b[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(CheckTaskAdapter(task, adapter).ok());
  adapter.pairs[0] = {"blk.0.attn_q.weight", 3, 2, 1, {1, 0}, {0, 0, 0}};
  EXPECT_FALSE(CheckTaskAdapter(task, adapter).ok());
}

TEST(RoundCounterTest, NeverGoesBackAndDamageIsAnError) {
  const TempDir dir;
  const std::string path = dir.path() + "/counter";
  EXPECT_EQ(ReadRoundCounter(path).value(), 0u);
  ASSERT_TRUE(RaiseRoundCounter(path, 5).ok());
  EXPECT_FALSE(RaiseRoundCounter(path, 4).ok());
  EXPECT_EQ(ReadRoundCounter(path).value(), 5u);
  ASSERT_TRUE(AtomicWriteFile(path, "five").ok());
  EXPECT_EQ(ReadRoundCounter(path).status().code(), absl::StatusCode::kDataLoss);
}

TEST(WorkFolderTest, OneWorkAtATimeAndDamageIsAnError) {
  const TempDir dir;
  const std::string work_path = dir.path() + "/in-hand";
  const WorkFolder work(work_path);
  EXPECT_FALSE(work.Load()->has_value());
  v1::CheckInResponse::Task offer;
  offer.mutable_task()->set_body("x");
  ASSERT_TRUE(work.Begin(offer).ok());
  EXPECT_FALSE(work.Begin(offer).ok());
  EXPECT_EQ(work.Load()->value().task().body(), "x");
  EXPECT_FALSE(work.LoadJournal()->has_value());
  ASSERT_TRUE(work.SaveJournal(std::vector<uint8_t>{1, 2}).ok());
  EXPECT_EQ(work.LoadJournal()->value().size(), 2u);
  ASSERT_TRUE(work.Finish().ok());
  EXPECT_FALSE(work.Load()->has_value());
  ASSERT_TRUE(work.Begin(offer).ok());
  EXPECT_FALSE(work.LoadJournal()->has_value()) << "an old journal must not meet a new task";
  ASSERT_TRUE(AtomicWriteFile(work_path + "/task.pb", "\xff\xff").ok());
  EXPECT_EQ(work.Load().status().code(), absl::StatusCode::kDataLoss);
}

TEST(ModelLibraryTest, KnowsModelsByTheirHash) {
  const TempDir dir;
  ASSERT_TRUE(MakeDirectories(dir.path() + "/models").ok());
  ASSERT_TRUE(AtomicWriteFile(dir.path() + "/own.gguf", "abc").ok());
  ModelLibrary library({dir.path() + "/own.gguf", dir.path() + "/gone.gguf"},
                       dir.path() + "/models");
  EXPECT_EQ(library.Refresh().size(), 1u) << "the missing file is reported";
  EXPECT_EQ(library.Find(Sha256Of("abc")), dir.path() + "/own.gguf");
  EXPECT_FALSE(library.Find(Sha256Of("x")).has_value());
  ASSERT_TRUE(AtomicWriteFile(library.DownloadPath(Sha256Of("x")), "x").ok());
  library.Refresh();
  EXPECT_TRUE(library.Find(Sha256Of("x")).has_value());
}

// A chain of `rounds` + 1 versions, as a coordinator lists them.
v1::ListAdapterVersionsResponse ChainOf(int rounds) {
  const SigningKey key = CoordinatorKey();
  const trust::SessionSigner signer(key);
  v1::ListAdapterVersionsResponse listed;
  std::optional<secagg::ChainHead> head;
  v1::AdapterVersion version;
  version.set_run_id("r");
  version.set_adapter_digest(std::string(AsChars(Sha256Of("0"))));
  *listed.add_versions() = trust::SignDocument(key, trust::kAdapterDomain, version);
  for (int i = 1; i <= rounds; ++i) {
    secagg::RoundResult result;
    result.federation_id = "f";
    result.run_id = "r";
    result.round = static_cast<uint64_t>(i);
    result.contributors = {"a", "b", "c"};
    result.adapter_hash = Sha256Of(std::to_string(i));
    EXPECT_TRUE(secagg::SignResult(head, signer, result).ok());
    head = {result.sequence, secagg::ResultHash(result)};
    const std::vector<uint8_t> bytes = secagg::Encode(result);
    listed.add_round_results(std::string(AsChars(bytes)));
    version.set_version(result.round);
    version.set_round(result.round);
    version.set_adapter_digest(std::string(AsChars(result.adapter_hash)));
    version.set_round_result_digest(std::string(AsChars(Sha256Of(bytes))));
    version.set_parent_digest(
        std::string(AsChars(trust::DocumentDigest(listed.versions(listed.versions_size() - 1)))));
    *listed.add_versions() = trust::SignDocument(key, trust::kAdapterDomain, version);
  }
  return listed;
}

TEST(AdapterChainTest, AcceptsAWholeChain) {
  const auto chain = CheckAdapterChain(ChainOf(3), CoordinatorKey().public_key());
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_EQ(chain->versions.size(), 4u);
}

TEST(AdapterChainTest, RunNameThatLeadsOutOfTheFolderIsRefused) {
  const TempDir dir;
  const AdapterLibrary library(dir.path() + "/adapters", CoordinatorKey().public_key());
  EXPECT_EQ(library.Load("../x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(library.Load("fine-1").ok());
}

TEST(AdapterChainTest, RefusesAGapASwapAndAForeignKey) {
  v1::ListAdapterVersionsResponse gap = ChainOf(3);
  gap.mutable_versions()->DeleteSubrange(2, 1);
  gap.mutable_round_results()->DeleteSubrange(1, 1);
  EXPECT_FALSE(CheckAdapterChain(gap, CoordinatorKey().public_key()).ok());
  v1::ListAdapterVersionsResponse swapped = ChainOf(3);
  swapped.mutable_round_results()->SwapElements(0, 1);
  EXPECT_FALSE(CheckAdapterChain(swapped, CoordinatorKey().public_key()).ok());
  v1::ListAdapterVersionsResponse changed = ChainOf(2);
  changed.mutable_versions(1)->mutable_body()->push_back('\0');
  EXPECT_FALSE(CheckAdapterChain(changed, CoordinatorKey().public_key()).ok());
  EXPECT_FALSE(CheckAdapterChain(ChainOf(1), trust::PublicKey{}).ok());
}

}  // namespace
}  // namespace choir::node
