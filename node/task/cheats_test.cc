// A coordinator that lies, over gRPC: the victim is a whole node (daemon, round, session, real
// calls over mTLS) with a worker that trains nothing; whatever it is told wrongly, it refuses by
// its own reason, which its owner sees in the status.
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "engine/lora/factors.h"
#include "engine/lora/gguf_adapter.h"
#include "node/task/node_daemon.h"
#include "node/task/test_cheating_coordinator.h"
#include "node/worker/job.h"
#include "secure-agg/core/transcript.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

using coordinator::TestAdapter;
using secagg::KeyList;
using secagg::KeyListEntry;
using secagg::RoundResult;
using secagg::SessionConfig;
using secagg::ShareDelivery;
using secagg::SurvivorList;
using secagg::SurvivorSignatures;

constexpr absl::Duration kPatience = absl::Seconds(90);
const std::string kStranger(32, '\xff');  // sorts last

// Before the victim has made a masked input, or after: what its ledger must say.
enum class Sent : uint8_t { kNothing, kInput };

struct Case {
  const char* name;
  const char* reason;
  Sent sent;
  void (*cheat)(CheatingCoordinator& c);
};
void PrintTo(const Case& test, std::ostream* out) {
  *out << test.name;
}

class CheatsTest : public testing::TestWithParam<Case> {
 protected:
  CheatsTest() : coordinator_(dir_.path() + "/coordinator", clock_, random_) {
    spdlog::set_level(spdlog::level::off);
  }

  // A program that is called as the worker is, and has its result already.
  std::string Worker() {
    const std::string results = dir_.path() + "/results";
    EXPECT_TRUE(MakeDirectories(results, 0700).ok());
    const uint64_t length = engine::CountFactors(TestAdapter(), engine::TrainedFactors::kBoth);
    JobResult result;
    result.examples = 5;
    result.tokens = 10;
    result.loss_sum = 20;
    result.steps = 1;
    EXPECT_TRUE(WriteJobResult(results, result, std::vector<float>(length, 0.25f)).ok());
    std::string path = dir_.path() + "/worker";
    EXPECT_TRUE(AtomicWriteFile(path,
                                fmt::format("#!/bin/sh\ncp {0}/delta.f32 \"$2\" && "
                                            "cp {0}/result.json \"$2\"\n",
                                            results),
                                0700)
                    .ok());
    return path;
  }

  // Runs the victim until its status names a reason, or it has contributed.
  NodeStatus RunVictim() {
    const NodeHome home{dir_.path() + "/home"};
    EXPECT_TRUE(MakeDirectories(home.path, 0700).ok());
    EXPECT_TRUE(coordinator_.victim().key().Save(home.DeviceKey(), "", random_).ok());
    auto identity = Identity::Create(home, coordinator_.Enrol(), clock_.Now());
    EXPECT_TRUE(identity.ok()) << identity.status();
    OwnerPolicy policy;
    policy.data_folder = dir_.path();
    policy.consent = Consent::kAuto;
    policy.min_cohort = 3;
    policy.only_on_power = false;
    policy.min_battery_percent = 0;
    policy.max_temperature_c = 1000;
    NodeBoard board;
    NodeDaemon daemon({.home = home,
                       .identity = *std::move(identity),
                       .policy = policy,
                       .program = Worker(),
                       .version = "test",
                       .board = board,
                       .clock = clock_,
                       .random = random_});
    std::thread running([&daemon] { EXPECT_TRUE(daemon.Run().ok()); });
    const auto over = [&board] {
      const NodeStatus status = board.Read();
      return !status.last_reason.empty() || status.adapter_version > 0;
    };
    for (const absl::Time limit = absl::Now() + kPatience; !over() && absl::Now() < limit;) {
      if (!coordinator_.StepPeers()) absl::SleepFor(absl::Milliseconds(5));
    }
    const NodeStatus status = board.Read();
    board.RequestStop();
    running.join();
    return status;
  }

  TempDir dir_;
  SystemClock clock_;
  SystemRandom random_;
  CheatingCoordinator coordinator_;
};

TEST_F(CheatsTest, HonestCoordinatorGetsAContribution) {
  const NodeStatus status = RunVictim();
  EXPECT_EQ(status.last_reason, "") << status.last_problem;
  EXPECT_EQ(status.adapter_version, 1u);
  EXPECT_EQ(status.rounds_contributed, 1u);
}

TEST_P(CheatsTest, IsRefusedByItsOwnReason) {
  GetParam().cheat(coordinator_);
  const NodeStatus status = RunVictim();
  EXPECT_EQ(status.last_reason, GetParam().reason) << status.last_problem;
  EXPECT_EQ(status.bytes_sent_masked > 0, GetParam().sent == Sent::kInput);
}

// ---- What cheats are made of -----------------------------------------------------------------

// The first entries of others.
KeyListEntry& Other(CheatingCoordinator& c, KeyList& list, size_t number) {
  for (KeyListEntry& entry : list.entries) {
    if (entry.keys.node_id != c.victim().id() && number-- == 0) return entry;
  }
  return list.entries.front();
}
KeyListEntry& Own(CheatingCoordinator& c, KeyList& list) {
  return *std::ranges::find_if(
      list.entries, [&](const KeyListEntry& e) { return e.keys.node_id == c.victim().id(); });
}
// What a node that is in league with the coordinator can do.
void SignAgain(CheatingCoordinator& c, const trust::SigningKey& key, KeyListEntry& entry) {
  entry.keys.signature =
      key.SignRaw(secagg::AdvertiseSigningBytes(secagg::HashConfig(c.config()), entry.keys));
}
void SignAgain(CheatingCoordinator& c, KeyListEntry& entry) {
  SignAgain(c, c.KeyOf(entry.keys.node_id), entry);
}
template <typename List>
void Erase(List& list, const std::string& id) {
  std::erase(list, id);
}
// The first survivor that is not the victim.
secagg::Survivor& OtherSurvivor(CheatingCoordinator& c, SurvivorList& list) {
  return *std::ranges::find_if(
      list.survivors, [&](const secagg::Survivor& s) { return s.node_id != c.victim().id(); });
}
void Drop(SurvivorList& list, const std::string& id) {
  std::erase_if(list.survivors, [&](const secagg::Survivor& s) { return s.node_id == id; });
  list.dropped.push_back(id);
  std::ranges::sort(list.dropped);
}
secagg::NodeSignature& OtherSignature(CheatingCoordinator& c, SurvivorSignatures& s) {
  return *std::ranges::find_if(s.signatures, [&](const secagg::NodeSignature& entry) {
    return entry.node_id != c.victim().id();
  });
}
// Another adapter for the victim alone: task and version name it, and it can be fetched.
void GiveAdapter(CheatingCoordinator& c, const engine::Adapter& adapter) {
  const std::string bytes = engine::SerializeGgufAdapter(adapter).value();
  const std::string digest = c.Plant(bytes);
  c.cheat.task = [digest, size = bytes.size()](v1::RoundTask& task) {
    task.set_adapter_digest(digest);
    task.set_adapter_bytes(size);
  };
  c.cheat.version = [digest, size = bytes.size()](v1::AdapterVersion& version) {
    version.set_adapter_digest(digest);
    version.set_adapter_bytes(size);
  };
}

// The same for the session: the victim is told that it is about this adapter. Its hash.
Digest SetApart(CheatingCoordinator& c, const engine::Adapter& adapter) {
  GiveAdapter(c, adapter);
  const Digest digest = Sha256Of(engine::SerializeGgufAdapter(adapter).value());
  c.cheat.config = [digest](SessionConfig& s) { s.adapter_hash = digest; };
  c.cheat.other_adapter = true;
  return digest;
}
engine::Adapter OtherAdapter() {
  engine::Adapter adapter = TestAdapter();
  adapter.pairs[0].a[0] += 1;
  return adapter;
}

using C = CheatingCoordinator;

// ---- The task and the adapter ----------------------------------------------------------------

const Case kTaskCheats[] = {
    {"UnsignedTask", "bad-config-signature", Sent::kNothing,
     [](C& c) {
       c.cheat.sign_task = false;
       c.cheat.task = [](v1::RoundTask& t) { t.set_round(t.round() + 1); };
     }},
    {"TaskOfAnotherFederation", "foreign-federation", Sent::kNothing,
     [](C& c) { c.cheat.task = [](v1::RoundTask& t) { t.set_federation_id("theirs"); }; }},
    {"TaskOfAnotherRun", "foreign-federation", Sent::kNothing,
     [](C& c) { c.cheat.task = [](v1::RoundTask& t) { t.set_run_id("other"); }; }},
    {"ExpiredTask", "expired", Sent::kNothing,
     [](C& c) { c.cheat.task = [](v1::RoundTask& t) { t.set_not_after_unix_s(1); }; }},
    {"RunThatTheTaskDoesNotName", "bad-config", Sent::kNothing,
     [](C& c) {
       c.cheat.name_run = false;
       c.cheat.run = [](v1::RunConfig& r) { r.mutable_aggregation()->set_clip_norm(1e6f); };
     }},
    {"RunBelowTheManifestsFloor", "cohort-below-minimum", Sent::kNothing,
     [](C& c) {
       c.cheat.run = [](v1::RunConfig& r) { r.mutable_aggregation()->set_min_cohort(2); };
     }},
    {"VersionThatTheTaskDoesNotName", "adapter-mismatch", Sent::kNothing,
     [](C& c) { c.cheat.version = [](v1::AdapterVersion& v) { v.set_version(7); }; }},
    {"ZeroAdapter", "zero-adapter", Sent::kNothing,
     [](C& c) {
       engine::Adapter adapter = TestAdapter();
       std::ranges::fill(adapter.pairs[1].a, 0.0f);
       GiveAdapter(c, adapter);
     }},
    // Trained from one adapter, summed with nodes that trained from another.
    {"AnotherAdapterInTheTaskAlone", "adapter-mismatch", Sent::kNothing,
     [](C& c) { GiveAdapter(c, OtherAdapter()); }},
    {"OtherBytesUnderTheAdaptersName", "adapter-mismatch", Sent::kNothing,
     [](C& c) {
       const std::string honest = engine::SerializeGgufAdapter(TestAdapter()).value();
       std::string other = engine::SerializeGgufAdapter(OtherAdapter()).value();
       EXPECT_EQ(other.size(), honest.size());
       c.Replace(std::string(AsChars(Sha256Of(honest))), other);
     }},
    {"OldRound", "foreign-federation", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.round -= 1; }; }},
};

// ---- The session's configuration -------------------------------------------------------------

const Case kConfigCheats[] = {
    {"UnsignedConfiguration", "bad-config-signature", Sent::kNothing,
     [](C& c) {
       c.cheat.sign_config = false;
       c.cheat.config = [](SessionConfig& s) { s.signature = {}; };
     }},
    {"ConfigurationChangedAfterSigning", "bad-config-signature", Sent::kNothing,
     [](C& c) {
       c.cheat.sign_config = false;
       c.cheat.config = [](SessionConfig& s) { s.clip_norm *= 2; };
     }},
    {"ReplayedRound", "replayed-round", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.round_counter = 0; }; }},
    {"ExpiredConfiguration", "expired", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.expires_at_ms = 1; }; }},
    {"CohortOfTwo", "cohort-below-minimum", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.min_cohort = 2; }; }},
    {"ThresholdLowered", "threshold-lowered", Sent::kNothing,
     [](C& c) {
       c.cheat.config = [](SessionConfig& s) {
         s.threshold_rule = static_cast<secagg::ThresholdRule>(2);
       };
     }},
    {"UnknownMasks", "weak-parameters", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.prg = static_cast<secagg::Prg>(9); }; }},
    {"OtherBaseModel", "base-mismatch", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.base_hash[0] ^= 1; }; }},
    {"OtherAdapterInTheSession", "adapter-mismatch", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.adapter_hash[0] ^= 1; }; }},
    {"OtherFactors", "shape-mismatch", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.lora_digest[0] ^= 1; }; }},
    {"SumThatWraps", "bad-config", Sent::kNothing,
     [](C& c) { c.cheat.config = [](SessionConfig& s) { s.value_bits = s.word_bits; }; }},
};

// ---- Keys and shares -------------------------------------------------------------------------

const Case kKeyCheats[] = {
    {"TwoInTheKeyList", "cohort-below-minimum", Sent::kNothing,
     [](C& c) {
       c.cheat.keys = [&c](KeyList& list) {
         const std::string kept = Other(c, list, 0).keys.node_id;
         std::erase_if(list.entries, [&](const KeyListEntry& e) {
           return e.keys.node_id != c.victim().id() && e.keys.node_id != kept;
         });
       };
     }},
    {"SwappedKey", "bad-signature", Sent::kNothing,
     [](C& c) { c.cheat.keys = [&c](KeyList& list) { Other(c, list, 0).keys.mask_key = {9}; }; }},
    {"DeviceOfNobody", "foreign-key", Sent::kNothing,
     [](C& c) {
       c.cheat.keys = [&c](KeyList& list) {
         const auto sybil = trust::SigningKey::FromSeed(std::array<uint8_t, 32>{5});
         KeyListEntry& entry = Other(c, list, 0);
         entry.device_key = sybil.public_key();
         SignAgain(c, sybil, entry);
       };
     }},
    {"RepeatedKey", "repeated-key", Sent::kNothing,
     [](C& c) {
       c.cheat.keys = [&c](KeyList& list) {
         Other(c, list, 1).keys.mask_key = Other(c, list, 0).keys.mask_key;
         SignAgain(c, Other(c, list, 1));
       };
     }},
    {"RepeatedNode", "repeated-node", Sent::kNothing,
     [](C& c) { c.cheat.keys = [&c](KeyList& list) { Other(c, list, 1) = Other(c, list, 0); }; }},
    {"OwnEntryMissing", "own-entry-missing", Sent::kNothing,
     [](C& c) {
       c.cheat.keys = [&c](KeyList& list) {
         std::erase_if(list.entries,
                       [&](const KeyListEntry& e) { return e.keys.node_id == c.victim().id(); });
       };
     }},
    {"OwnKeysChanged", "own-entry-changed", Sent::kNothing,
     [](C& c) {
       c.cheat.keys = [&c](KeyList& list) {
         Own(c, list).keys.share_key = {9};
         SignAgain(c, Own(c, list));  // as if the device's key were stolen
       };
     }},
    {"LowOrderKey", "low-order-key", Sent::kNothing,
     [](C& c) {
       c.cheat.keys = [&c](KeyList& list) {
         Other(c, list, 0).keys.share_key = {1};
         SignAgain(c, Other(c, list, 0));
       };
     }},
    // Pasquini et al. 2022: one node under another model. Its cohort's keys are not for it.
    {"AnotherAdapterForOneNode", "bad-signature", Sent::kNothing,
     [](C& c) { SetApart(c, OtherAdapter()); }},
    // The others' devices sign their keys for its session, too. What they sealed was not for it.
    {"AnotherAdapterAndDevicesInLeague", "bad-share", Sent::kNothing,
     [](C& c) {
       const Digest other = SetApart(c, OtherAdapter());
       c.cheat.keys = [&c, other](KeyList& list) {
         SessionConfig told = c.config();
         told.adapter_hash = other;
         const Digest h0 = secagg::HashConfig(told);
         for (KeyListEntry& entry : list.entries) {
           if (entry.keys.node_id == c.victim().id()) continue;
           entry.keys.signature =
               c.KeyOf(entry.keys.node_id).SignRaw(secagg::AdvertiseSigningBytes(h0, entry.keys));
         }
       };
     }},
    {"LeftOut", "left-out", Sent::kNothing,
     [](C& c) {
       c.cheat.delivery = [&c](ShareDelivery& d) { Erase(d.members, c.victim().id()); };
     }},
    {"TooFewShareholders", "too-few-shareholders", Sent::kNothing,
     [](C& c) {
       c.cheat.delivery = [&c](ShareDelivery& d) {
         const std::string kept = d.shares[0].node_id;
         d.shares.resize(1);
         std::erase_if(d.members,
                       [&](const std::string& id) { return id != c.victim().id() && id != kept; });
       };
     }},
    {"UnknownShareholder", "unknown-member", Sent::kNothing,
     [](C& c) { c.cheat.delivery = [](ShareDelivery& d) { d.members.push_back(kStranger); }; }},
    {"BrokenCiphertexts", "bad-share", Sent::kNothing,
     [](C& c) {
       c.cheat.delivery = [](ShareDelivery& d) {
         for (secagg::SealedShare& share : d.shares) share.sealed[0] ^= 1;
       };
     }},
    {"SwappedCiphertexts", "bad-share", Sent::kNothing,
     [](C& c) {
       c.cheat.delivery = [](ShareDelivery& d) {
         std::swap(d.shares[0].sealed, d.shares[1].sealed);
         std::swap(d.shares[1].sealed, d.shares[2].sealed);
       };
     }},
};

// ---- Survivors, signatures, results ----------------------------------------------------------

const Case kLateCheats[] = {
    {"DeclaredDropped", "declared-dropped", Sent::kInput,
     [](C& c) { c.cheat.survivors = [&c](SurvivorList& l) { Drop(l, c.victim().id()); }; }},
    {"WrongInputHash", "wrong-input-hash", Sent::kInput,
     [](C& c) {
       c.cheat.survivors = [&c](SurvivorList& l) {
         for (secagg::Survivor& s : l.survivors) {
           if (s.node_id == c.victim().id()) s.input_hash[0] ^= 1;
         }
       };
     }},
    {"TooFewSurvivors", "too-few-survivors", Sent::kInput,
     [](C& c) {
       c.cheat.survivors = [&c](SurvivorList& l) {
         for (int i = 0; i < 2; ++i) Drop(l, std::string(OtherSurvivor(c, l).node_id));
       };
     }},
    {"SurvivorOfNobody", "survivors-not-subset", Sent::kInput,
     [](C& c) {
       c.cheat.survivors = [](SurvivorList& l) { l.survivors.push_back({kStranger, {}}); };
     }},
    {"ForgottenNode", "survivors-not-subset", Sent::kInput,
     [](C& c) {
       c.cheat.survivors = [&c](SurvivorList& l) {
         const std::string id = OtherSurvivor(c, l).node_id;
         std::erase_if(l.survivors, [&](const secagg::Survivor& s) { return s.node_id == id; });
       };
     }},
    {"BothSharesOfOneNode", "both-shares-requested", Sent::kInput,
     [](C& c) {
       c.cheat.survivors = [&c](SurvivorList& l) {
         l.dropped.push_back(OtherSurvivor(c, l).node_id);
       };
     }},
    {"TooFewSignatures", "too-few-signatures", Sent::kInput,
     [](C& c) { c.cheat.signatures = [](SurvivorSignatures& s) { s.signatures.resize(2); }; }},
    {"ForgedSignature", "bad-signature", Sent::kInput,
     [](C& c) {
       c.cheat.signatures = [&c](SurvivorSignatures& s) { OtherSignature(c, s).signature[7] ^= 1; };
     }},
    {"SignatureCountedTwice", "repeated-node", Sent::kInput,
     [](C& c) {
       c.cheat.signatures = [](SurvivorSignatures& s) { s.signatures[2] = s.signatures[1]; };
     }},
    {"SignatureOfNobody", "unknown-member", Sent::kInput,
     [](C& c) {
       c.cheat.signatures = [](SurvivorSignatures& s) { s.signatures.push_back({kStranger, {}}); };
     }},
    {"OthersSignedAnotherList", "two-survivor-lists", Sent::kInput,
     [](C& c) { c.cheat.signatures = [](SurvivorSignatures& s) { s.h3[0] ^= 1; }; }},
    {"ResultOfAnotherList", "result-mismatch", Sent::kInput,
     [](C& c) { c.cheat.result = [](RoundResult& r) { r.h3[0] ^= 1; }; }},
    {"UnsignedResult", "bad-result-signature", Sent::kInput,
     [](C& c) {
       c.cheat.sign_result = false;
       c.cheat.result = [](RoundResult& r) { r.signature = {}; };
     }},
    {"HistoryWithoutItsResults", "chain-broken", Sent::kInput,
     [](C& c) {
       c.cheat.history = [](v1::ListAdapterVersionsResponse& h) { h.clear_round_results(); };
     }},
};

const auto kName = [](const auto& test) { return std::string(test.param.name); };
INSTANTIATE_TEST_SUITE_P(Task, CheatsTest, testing::ValuesIn(kTaskCheats), kName);
INSTANTIATE_TEST_SUITE_P(Config, CheatsTest, testing::ValuesIn(kConfigCheats), kName);
INSTANTIATE_TEST_SUITE_P(Keys, CheatsTest, testing::ValuesIn(kKeyCheats), kName);
INSTANTIATE_TEST_SUITE_P(Late, CheatsTest, testing::ValuesIn(kLateCheats), kName);

}  // namespace
}  // namespace choir::node
