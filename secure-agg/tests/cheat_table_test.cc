#include <algorithm>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "secure-agg/core/adapter_check.h"
#include "secure-agg/core/result_chain.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/tests/cohort.h"

// Every lie of a coordinator that we know of, one line each, and the reason that a node must give.
// The other tests of this folder look at each more closely; this one counts them.
namespace choir::secagg {
namespace {

// A cohort that was honest so far; node 0 is the victim.
class Scene {
 public:
  explicit Scene(bool regular = false)
      : cohort(regular ? 40 : 7, regular ? TestRegularConfig() : TestConfig(), 91), play(cohort) {}
  Scene& After(int stages) {
    bool (Play::*const kStages[])() = {&Play::Advertise, &Play::Share, &Play::Mask, &Play::Vouch};
    for (int i = 0; i < stages; ++i) EXPECT_TRUE((play.*kStages[i])());
    return *this;
  }
  ClientSession& victim() { return *play.clients[0]; }
  std::vector<uint8_t> told() { return play.server.MessageFor(cohort.nodes[0].id).value(); }
  KeyList keys() { return DecodeKeyList(told()).value(); }
  NeighbourList neighbours() { return DecodeNeighbourList(told()).value(); }
  ShareDelivery delivery() { return DecodeShareDelivery(told()).value(); }
  SurvivorList survivors() { return DecodeSurvivorList(told()).value(); }
  SurvivorSignatures signatures() { return DecodeSurvivorSignatures(told()).value(); }
  void SignAgain(KeyListEntry& entry, size_t node) {
    entry.keys.signature =
        cohort.nodes[node]
            .signer->Sign(AdvertiseSigningBytes(HashConfig(cohort.config), entry.keys))
            .value();
  }

  TestCohort cohort;
  Play play;
};

absl::Status OfConfig(const std::function<void(SessionConfig&)>& change, bool sign = true,
                      bool regular = false) {
  const Scene scene(regular);
  SessionConfig config = scene.cohort.config;
  change(config);
  if (sign) {
    EXPECT_TRUE(SignConfig(scene.cohort.coordinator, config).ok());
  }
  ClientPolicyOptions floor;
  floor.min_cohort = 3;
  floor.min_corrupt_percent = 5;
  return ClientSession::Start(Encode(config), scene.cohort.ContextOf(0),
                              ClientPolicy::Create(floor).value(), *scene.cohort.nodes[0].signer,
                              scene.cohort.authority, SeedFrom("s", 1))
      .status();
}

absl::Status OfKeys(const std::function<void(Scene&, KeyList&)>& change) {
  Scene scene;
  KeyList list = scene.After(1).keys();
  change(scene, list);
  return scene.victim().HandleKeyList(Encode(list)).status();
}

absl::Status OfNeighbours(const std::function<void(NeighbourList&)>& change) {
  Scene scene(true);
  NeighbourList list = scene.After(1).neighbours();
  change(list);
  return scene.victim().HandleKeyList(Encode(list)).status();
}

absl::Status OfDelivery(const std::function<void(ShareDelivery&)>& change) {
  Scene scene;
  ShareDelivery delivery = scene.After(2).delivery();
  change(delivery);
  return scene.victim().HandleShareDelivery(Encode(delivery)).status();
}

absl::Status OfSurvivors(const std::function<void(SurvivorList&)>& change) {
  Scene scene;
  SurvivorList list = scene.After(3).survivors();
  change(list);
  return scene.victim().HandleSurvivorList(Encode(list)).status();
}

absl::Status OfSignatures(const std::function<void(SurvivorSignatures&)>& change) {
  Scene scene;
  SurvivorSignatures request = scene.After(4).signatures();
  change(request);
  return scene.victim().HandleSurvivorSignatures(Encode(request)).status();
}

void Drop(SurvivorList& list, size_t i) {
  list.dropped.push_back(list.survivors[i].node_id);
  std::ranges::sort(list.dropped);
  list.survivors.erase(list.survivors.begin() + static_cast<ptrdiff_t>(i));
}

absl::Status OfAdapter(float a, float b) {
  const std::vector<float> as(4, a);
  const std::vector<float> bs(4, b);
  const LoraFactors module{as, bs};
  return CheckAdapter({&module, 1});
}

absl::Status SecondKeyList() {
  Scene scene;
  KeyList list = scene.After(1).keys();
  EXPECT_TRUE(scene.victim().HandleKeyList(Encode(list)).ok());
  list.entries.pop_back();
  return scene.victim().HandleKeyList(Encode(list)).status();
}

absl::Status KeysOfAnotherConfiguration() {
  Scene scene;
  SessionConfig other = TestConfig();
  other.adapter_hash = Sha256Of("special adapter");
  const TestCohort elsewhere(7, other, 91);
  KeyList list = scene.After(1).keys();
  list.entries[2].keys =
      DecodeAdvertiseKeys(Sent(elsewhere.StartClient(2).value().CurrentStep())).value();
  return scene.victim().HandleKeyList(Encode(list)).status();
}

absl::Status SecondDelivery() {
  Scene scene;
  ShareDelivery delivery = scene.After(2).delivery();
  EXPECT_TRUE(scene.victim().HandleShareDelivery(Encode(delivery)).ok());
  delivery.members.pop_back();
  delivery.shares.pop_back();
  return scene.victim().HandleShareDelivery(Encode(delivery)).status();
}

// What the victim sealed for others comes back to it as if they had sealed it.
absl::Status ReflectedCiphertexts() {
  Scene scene;
  scene.After(2);
  const ShareKeys own = DecodeShareKeys(Sent(scene.victim().CurrentStep())).value();
  ShareDelivery delivery = scene.delivery();
  for (size_t i = 0; i < delivery.shares.size(); ++i) delivery.shares[i] = own.shares[i];
  return scene.victim().HandleShareDelivery(Encode(delivery)).status();
}

absl::Status TwoLists() {
  Scene scene;
  SurvivorList list = scene.After(3).survivors();
  EXPECT_TRUE(scene.victim().HandleSurvivorList(Encode(list)).ok());
  Drop(list, 3);
  return scene.victim().HandleSurvivorList(Encode(list)).status();
}

absl::Status SecondRequest() {
  Scene scene;
  SurvivorSignatures request = scene.After(4).signatures();
  EXPECT_TRUE(scene.victim().HandleSurvivorSignatures(Encode(request)).ok());
  request.signatures.pop_back();
  return scene.victim().HandleSurvivorSignatures(Encode(request)).status();
}

RoundResult ResultOf(Scene& scene) {
  RoundResult result;
  result.federation_id = scene.cohort.config.federation_id;
  result.run_id = scene.cohort.config.run_id;
  result.round = scene.cohort.config.round;
  result.session_id = scene.cohort.config.session_id;
  for (const TestNode& node : scene.cohort.nodes) result.contributors.push_back(node.id);
  result.h3 = *scene.After(4).victim().h3();
  EXPECT_TRUE(SignResult(std::nullopt, scene.cohort.coordinator, result).ok());
  return result;
}

absl::Status ResultOfAnotherList() {
  Scene scene;
  RoundResult result = ResultOf(scene);
  result.h3[0] ^= 1;
  return scene.victim().CheckResult(result);
}

absl::Status ResultWithTheVictimLeftOut() {
  Scene scene;
  RoundResult result = ResultOf(scene);
  result.contributors.erase(result.contributors.begin());
  return scene.victim().CheckResult(result);
}

absl::Status ForgedResult() {
  Scene scene;
  RoundResult result = ResultOf(scene);
  result.adapter_hash[0] ^= 1;
  return FollowChain(std::nullopt, scene.cohort.coordinator.public_key(), result).status();
}

absl::Status ForkedChain() {
  Scene scene;
  const RoundResult result = ResultOf(scene);
  const ChainHead elsewhere{4, Sha256Of("another history")};
  return FollowChain(elsewhere, scene.cohort.coordinator.public_key(), result).status();
}

struct Cheat {
  const char* name;
  AbortReason reason;
  std::function<absl::Status()> play;
};

using C = SessionConfig;
using R = AbortReason;

const std::vector<Cheat>& Cheats() {
  static const std::vector<Cheat> kCheats = {
      {"UnsignedConfiguration", R::kBadConfigSignature,
       [] { return OfConfig([](C& c) { c.signature = {}; }, false); }},
      {"ConfigurationChangedAfterSigning", R::kBadConfigSignature,
       [] { return OfConfig([](C& c) { c.clip_norm = 9; }, false); }},
      {"OldRound", R::kForeignFederation, [] { return OfConfig([](C& c) { c.round = 6; }); }},
      {"OtherFederation", R::kForeignFederation,
       [] { return OfConfig([](C& c) { c.federation_id = "theirs"; }); }},
      {"ReplayedCounter", R::kReplayedRound,
       [] { return OfConfig([](C& c) { c.round_counter = 11; }); }},
      {"Expired", R::kExpired, [] { return OfConfig([](C& c) { c.expires_at_ms = 1; }); }},
      {"OtherBaseModel", R::kBaseMismatch,
       [] { return OfConfig([](C& c) { c.base_hash[0] ^= 1; }); }},
      {"OtherAdapterForOneNode", R::kAdapterMismatch,
       [] { return OfConfig([](C& c) { c.adapter_hash[0] ^= 1; }); }},
      {"OtherShape", R::kShapeMismatch, [] { return OfConfig([](C& c) { c.delta_length += 1; }); }},
      {"CohortBelowTheFloor", R::kCohortBelowMinimum,
       [] { return OfConfig([](C& c) { c.min_cohort = 2; }); }},
      {"ThresholdRuleLowered", R::kThresholdLowered,
       [] { return OfConfig([](C& c) { c.threshold_rule = ThresholdRule::kNeighbourhood; }); }},
      {"WordsTooSmall", R::kWeakParameters,
       [] { return OfConfig([](C& c) { c.value_bits = 4; }); }},
      {"SumThatWraps", R::kBadConfig, [] { return OfConfig([](C& c) { c.value_bits = 28; }); }},
      {"SparserGraphThanTheOwnerAllows", R::kGraphNotAllowed,
       [] { return OfConfig([](C& c) { c.corrupt_percent = 1; }, true, true); }},
      {"AdapterOfZeros", R::kZeroAdapter, [] { return OfAdapter(0, 0); }},
      {"AdapterWithNaN", R::kNonFiniteAdapter,
       [] { return OfAdapter(1, std::numeric_limits<float>::quiet_NaN()); }},
      {"CohortOfTwo", R::kCohortBelowMinimum,
       [] { return OfKeys([](Scene&, KeyList& list) { list.entries.resize(2); }); }},
      {"SwappedKey", R::kBadSignature,
       [] { return OfKeys([](Scene&, KeyList& list) { list.entries[2].keys.mask_key = {9}; }); }},
      {"RepeatedKey", R::kRepeatedKey,
       [] {
         return OfKeys([](Scene& scene, KeyList& list) {
           list.entries[2].keys.mask_key = list.entries[1].keys.mask_key;
           scene.SignAgain(list.entries[2], 2);
         });
       }},
      {"RepeatedNode", R::kRepeatedNode,
       [] { return OfKeys([](Scene&, KeyList& list) { list.entries[2] = list.entries[1]; }); }},
      {"LowOrderKey", R::kLowOrderKey,
       [] {
         return OfKeys([](Scene& scene, KeyList& list) {
           list.entries[2].keys.share_key = {1};
           scene.SignAgain(list.entries[2], 2);
         });
       }},
      {"UncertifiedDevice", R::kForeignKey,
       [] { return OfKeys([](Scene&, KeyList& list) { list.entries[2].credential[0] ^= 1; }); }},
      {"OwnEntryMissing", R::kOwnEntryMissing,
       [] {
         return OfKeys([](Scene&, KeyList& list) { list.entries.erase(list.entries.begin()); });
       }},
      {"OwnEntryChanged", R::kOwnEntryChanged,
       [] { return OfKeys([](Scene&, KeyList& list) { list.entries[0].keys.nonce[0] ^= 1; }); }},
      {"KeysSignedForAnotherConfiguration", R::kBadSignature, KeysOfAnotherConfiguration},
      {"SecondKeyList", R::kSecondKeyList, SecondKeyList},
      {"GraphWithALowerThreshold", R::kBadGraph,
       [] { return OfNeighbours([](NeighbourList& list) { list.threshold -= 1; }); }},
      {"KeyOutsideTheTree", R::kBadMerklePath,
       [] { return OfNeighbours([](NeighbourList& list) { list.entries[3].path[0][0] ^= 1; }); }},
      {"NeighboursOfItsChoice", R::kWrongNeighbour,
       [] { return OfNeighbours([](NeighbourList& list) { list.entries.pop_back(); }); }},
      {"LeftOut", R::kLeftOut,
       [] { return OfDelivery([](ShareDelivery& d) { d.members.erase(d.members.begin()); }); }},
      {"TooFewShareholders", R::kTooFewShareholders,
       [] {
         return OfDelivery([](ShareDelivery& d) {
           d.members.resize(4);
           d.shares.resize(3);
         });
       }},
      {"StrangerAmongTheShareholders", R::kUnknownMember,
       [] { return OfDelivery([](ShareDelivery& d) { d.members.push_back("sybil"); }); }},
      {"ReflectedCiphertexts", R::kBadShare, ReflectedCiphertexts},
      {"SecondDelivery", R::kSecondShareDelivery, SecondDelivery},
      {"VictimDeclaredDropped", R::kDeclaredDropped,
       [] { return OfSurvivors([](SurvivorList& list) { Drop(list, 0); }); }},
      {"OtherInputInItsName", R::kWrongInputHash,
       [] { return OfSurvivors([](SurvivorList& l) { l.survivors[0].input_hash[0] ^= 1; }); }},
      {"TooFewSurvivors", R::kTooFewSurvivors,
       [] {
         return OfSurvivors([](SurvivorList& list) {
           for (int i = 0; i < 3; ++i) Drop(list, 1);
         });
       }},
      {"StrangerAmongTheSurvivors", R::kSurvivorsNotSubset,
       [] { return OfSurvivors([](SurvivorList& l) {
              l.survivors.push_back({"sybil", {}});
            }); }},
      {"BothSecretsOfANode", R::kBothSharesRequested,
       [] {
         return OfSurvivors([](SurvivorList& l) { l.dropped.push_back(l.survivors[3].node_id); });
       }},
      {"TwoSurvivorLists", R::kTwoSurvivorLists, TwoLists},
      {"TooFewSignatures", R::kTooFewSignatures,
       [] { return OfSignatures([](SurvivorSignatures& s) { s.signatures.resize(4); }); }},
      {"ForgedSignature", R::kBadSignature,
       [] {
         return OfSignatures([](SurvivorSignatures& s) { s.signatures[3].signature[7] ^= 1; });
       }},
      {"OneSignatureTwice", R::kRepeatedNode,
       [] {
         return OfSignatures([](SurvivorSignatures& s) { s.signatures[3] = s.signatures[2]; });
       }},
      {"OthersSignedAnotherList", R::kTwoSurvivorLists,
       [] { return OfSignatures([](SurvivorSignatures& s) { s.h3[0] ^= 1; }); }},
      {"SecondRequestToUnmask", R::kSecondUnmaskRequest, SecondRequest},
      {"ResultOfAnotherList", R::kResultMismatch, ResultOfAnotherList},
      {"ResultWithTheVictimLeftOut", R::kResultMismatch, ResultWithTheVictimLeftOut},
      {"ForgedResult", R::kBadResultSignature, ForgedResult},
      {"ForkedChain", R::kChainBroken, ForkedChain}};
  return kCheats;
}

TEST(CheatTableTest, EachCheatIsRefusedWithItsReason) {
  for (const Cheat& cheat : Cheats()) {
    const absl::Status status = cheat.play();
    EXPECT_EQ(ReasonOf(status), cheat.reason) << cheat.name << ": " << status.ToString();
  }
}

TEST(CheatTableTest, ThereAreAtLeastThirtyOfThem) {
  std::set<std::string> names;
  std::set<AbortReason> reasons;
  for (const Cheat& cheat : Cheats()) {
    names.insert(cheat.name);
    reasons.insert(cheat.reason);
  }
  EXPECT_EQ(names.size(), Cheats().size());
  EXPECT_GE(names.size(), 30u);
  EXPECT_GE(reasons.size(), 30u);
}

}  // namespace
}  // namespace choir::secagg
