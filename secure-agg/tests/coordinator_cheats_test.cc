#include <algorithm>

#include <gtest/gtest.h>

#include "base/hex.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/tests/cohort.h"

// What a node refuses of a lying coordinator inside a session: one test a cheat, each with its own
// code, and after each the session is over and its secrets are gone.
namespace choir::secagg {
namespace {

class CheatTest : public ::testing::Test {
 protected:
  ClientSession& victim() { return *play_.clients[0]; }
  const NodeId& id(size_t i) const { return cohort_.nodes[i].id; }
  std::vector<uint8_t> FromServer() { return play_.server.MessageFor(id(0)).value(); }
  KeyList List() { return DecodeKeyList(FromServer()).value(); }
  ShareDelivery Delivery() { return DecodeShareDelivery(FromServer()).value(); }
  SurvivorList Survivors() { return DecodeSurvivorList(FromServer()).value(); }
  SurvivorSignatures Signatures() { return DecodeSurvivorSignatures(FromServer()).value(); }

  void Expect(const absl::StatusOr<Step>& step, AbortReason reason) {
    EXPECT_EQ(ReasonOfStep(step), reason) << step.status().ToString();
    EXPECT_EQ(victim().stage(), ClientStage::kAborted);
    EXPECT_EQ(victim().abort_reason(), reason);
    ExpectErased();
  }
  // Neither the seed nor anything derived from it is in the tombstone.
  void ExpectErased() {
    const SecretBuffer tombstone = victim().Snapshot();
    const auto seed = cohort_.nodes[0].session_seed.Expose();
    const auto bytes = tombstone.Expose();
    EXPECT_TRUE(std::ranges::search(bytes, seed).empty());
    EXPECT_LT(bytes.size(), 1500u);
    EXPECT_EQ(ReasonOfStep(victim().CurrentStep()), AbortReason::kSessionOver);
  }

  TestCohort cohort_{7, TestConfig(), 31};  // t = 5
  Play play_{cohort_};
};

class KeyListCheatTest : public CheatTest {
 protected:
  void SetUp() override { ASSERT_TRUE(play_.Advertise()); }
  void ExpectRefused(const KeyList& list, AbortReason reason) {
    Expect(victim().HandleKeyList(Encode(list)), reason);
  }
  // The entry's device signs again: what a colluding node can do.
  void SignAgain(KeyListEntry& entry, size_t node) {
    const auto bytes = AdvertiseSigningBytes(HashConfig(cohort_.config), entry.keys);
    entry.keys.signature = cohort_.nodes[node].signer->Sign(bytes).value();
  }
};

TEST_F(KeyListCheatTest, CohortBelowMinimum) {
  KeyList list = List();
  list.entries.resize(2);
  ExpectRefused(list, AbortReason::kCohortBelowMinimum);
}

TEST_F(KeyListCheatTest, CohortAboveMaximum) {
  KeyList list = List();
  for (int i = 0; i < 30; ++i) list.entries.push_back(list.entries.back());
  ExpectRefused(list, AbortReason::kCohortAboveMaximum);
}

TEST_F(KeyListCheatTest, SwappedKey) {
  KeyList list = List();
  list.entries[2].keys.mask_key = {9};
  ExpectRefused(list, AbortReason::kBadSignature);
}

TEST_F(KeyListCheatTest, ForeignDevice) {
  KeyList list = List();
  const Ed25519Signer sybil(SeedFrom("sybil", 1));
  list.entries[2].device_key = sybil.public_key();
  const auto bytes = AdvertiseSigningBytes(HashConfig(cohort_.config), list.entries[2].keys);
  list.entries[2].keys.signature = sybil.Sign(bytes).value();
  ExpectRefused(list, AbortReason::kForeignKey);
}

TEST_F(KeyListCheatTest, RepeatedKey) {
  KeyList list = List();
  list.entries[2].keys.mask_key = list.entries[1].keys.mask_key;
  SignAgain(list.entries[2], 2);
  ExpectRefused(list, AbortReason::kRepeatedKey);
}

TEST_F(KeyListCheatTest, RepeatedNode) {
  KeyList list = List();
  list.entries[2] = list.entries[1];
  ExpectRefused(list, AbortReason::kRepeatedNode);
}

TEST_F(KeyListCheatTest, OwnEntryMissing) {
  KeyList list = List();
  list.entries.erase(list.entries.begin());
  ExpectRefused(list, AbortReason::kOwnEntryMissing);
}

TEST_F(KeyListCheatTest, OwnKeysChanged) {
  KeyList list = List();
  list.entries[0].keys.share_key = {9};
  SignAgain(list.entries[0], 0);
  ExpectRefused(list, AbortReason::kOwnEntryChanged);
}

TEST_F(KeyListCheatTest, LowOrderKey) {
  KeyList list = List();
  list.entries[2].keys.share_key = {1};
  SignAgain(list.entries[2], 2);
  ExpectRefused(list, AbortReason::kLowOrderKey);
}

TEST_F(KeyListCheatTest, KeysOfAnotherConfigurationAreNotSignedForThisOne) {
  // The model-inconsistency attack at its first line: node 2 was shown another adapter.
  SessionConfig other = TestConfig();
  other.adapter_hash = Sha256Of("special adapter");
  const TestCohort elsewhere(7, other, 31);
  KeyList list = List();
  list.entries[2].keys =
      DecodeAdvertiseKeys(Sent(elsewhere.StartClient(2).value().CurrentStep())).value();
  ExpectRefused(list, AbortReason::kBadSignature);
}

TEST_F(KeyListCheatTest, SecondKeyList) {
  ASSERT_TRUE(victim().HandleKeyList(FromServer()).ok());
  KeyList list = List();
  list.entries.pop_back();
  ExpectRefused(list, AbortReason::kSecondKeyList);
}

TEST_F(KeyListCheatTest, AnotherSessionsListChangesNothing) {
  KeyList list = List();
  list.session_id[0] ^= 1;
  EXPECT_EQ(ReasonOfStep(victim().HandleKeyList(Encode(list))), AbortReason::kForeignSession);
  EXPECT_EQ(victim().stage(), ClientStage::kAdvertised);
  EXPECT_TRUE(victim().HandleKeyList(FromServer()).ok());
}

TEST_F(KeyListCheatTest, GarbageAndMessagesOutOfTurnChangeNothing) {
  const std::vector<uint8_t> garbage = {3, 1, 0};
  EXPECT_EQ(ReasonOfStep(victim().HandleKeyList(garbage)), AbortReason::kMalformedMessage);
  EXPECT_EQ(ReasonOfStep(victim().HandleSurvivorList(
                Encode(SurvivorList{cohort_.config.session_id, {}, {}}))),
            AbortReason::kUnexpectedMessage);
  EXPECT_EQ(ReasonOfStep(victim().MaskInput(cohort_.nodes[0].values())),
            AbortReason::kUnexpectedMessage);
  EXPECT_EQ(ReasonOfStep(victim().Close()), AbortReason::kUnexpectedMessage);
  EXPECT_TRUE(victim().HandleKeyList(FromServer()).ok());
}

class DeliveryCheatTest : public CheatTest {
 protected:
  void SetUp() override { ASSERT_TRUE(play_.Advertise() && play_.Share()); }
  void ExpectRefused(const ShareDelivery& delivery, AbortReason reason) {
    Expect(victim().HandleShareDelivery(Encode(delivery)), reason);
  }
};

TEST_F(DeliveryCheatTest, LeftOut) {
  ShareDelivery delivery = Delivery();
  delivery.members.erase(delivery.members.begin());
  ExpectRefused(delivery, AbortReason::kLeftOut);
}

TEST_F(DeliveryCheatTest, TooFewShareholders) {
  ShareDelivery delivery = Delivery();
  delivery.members.resize(4);
  delivery.shares.resize(3);
  ExpectRefused(delivery, AbortReason::kTooFewShareholders);
}

TEST_F(DeliveryCheatTest, UnknownMember) {
  ShareDelivery delivery = Delivery();
  delivery.members.push_back("sybil");
  ExpectRefused(delivery, AbortReason::kUnknownMember);
}

TEST_F(DeliveryCheatTest, MissingCiphertext) {
  ShareDelivery delivery = Delivery();
  delivery.shares.pop_back();
  ExpectRefused(delivery, AbortReason::kUnknownMember);
}

TEST_F(DeliveryCheatTest, RepeatedMember) {
  ShareDelivery delivery = Delivery();
  delivery.members[2] = delivery.members[1];
  ExpectRefused(delivery, AbortReason::kRepeatedNode);
}

TEST_F(DeliveryCheatTest, TooManyBrokenCiphertexts) {
  ShareDelivery delivery = Delivery();
  for (size_t i = 0; i < 3; ++i) delivery.shares[i].sealed[0] ^= 1;
  ExpectRefused(delivery, AbortReason::kBadShare);
}

TEST_F(DeliveryCheatTest, SwappedCiphertextsDoNotOpen) {
  ShareDelivery delivery = Delivery();
  std::swap(delivery.shares[0].sealed, delivery.shares[1].sealed);
  std::swap(delivery.shares[2].sealed, delivery.shares[3].sealed);
  ExpectRefused(delivery, AbortReason::kBadShare);
}

TEST_F(DeliveryCheatTest, AFewBrokenCiphertextsAreDoneWithout) {
  ShareDelivery delivery = Delivery();
  for (size_t i = 0; i < 2; ++i) delivery.shares[i].sealed[0] ^= 1;
  EXPECT_TRUE(victim().HandleShareDelivery(Encode(delivery)).ok());
}

TEST_F(DeliveryCheatTest, SecondShareDelivery) {
  ASSERT_TRUE(victim().HandleShareDelivery(FromServer()).ok());
  ShareDelivery delivery = Delivery();
  delivery.members.pop_back();
  delivery.shares.pop_back();
  ExpectRefused(delivery, AbortReason::kSecondShareDelivery);
}

TEST_F(DeliveryCheatTest, ValuesThatDoNotEncodeEndTheSession) {
  ASSERT_TRUE(victim().HandleShareDelivery(FromServer()).ok());
  ClientValues values = cohort_.nodes[0].values();
  values.examples = 0;
  Expect(victim().MaskInput(values), AbortReason::kBadValues);
  EXPECT_FALSE(victim().input_spent());
}

TEST_F(DeliveryCheatTest, SecondInput) {
  ASSERT_TRUE(victim().HandleShareDelivery(FromServer()).ok());
  ASSERT_TRUE(victim().MaskInput(cohort_.nodes[0].values()).ok());
  EXPECT_TRUE(victim().MaskInput(cohort_.nodes[0].values()).ok());
  Expect(victim().MaskInput(cohort_.nodes[1].values()), AbortReason::kSecondMaskedInput);
  EXPECT_TRUE(victim().input_spent());
}

class SurvivorCheatTest : public CheatTest {
 protected:
  void SetUp() override { ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask()); }
  void ExpectRefused(const SurvivorList& list, AbortReason reason) {
    Expect(victim().HandleSurvivorList(Encode(list)), reason);
    EXPECT_TRUE(victim().input_spent());
  }
  // Moves a node from the survivors to the dropped ones.
  static void Drop(SurvivorList& list, size_t i) {
    list.dropped.push_back(list.survivors[i].node_id);
    std::ranges::sort(list.dropped);
    list.survivors.erase(list.survivors.begin() + static_cast<ptrdiff_t>(i));
  }
};

TEST_F(SurvivorCheatTest, DeclaredDropped) {
  SurvivorList list = Survivors();
  Drop(list, 0);
  ExpectRefused(list, AbortReason::kDeclaredDropped);
}

TEST_F(SurvivorCheatTest, WrongInputHash) {
  SurvivorList list = Survivors();
  list.survivors[0].input_hash[0] ^= 1;
  ExpectRefused(list, AbortReason::kWrongInputHash);
}

TEST_F(SurvivorCheatTest, TooFewSurvivors) {
  SurvivorList list = Survivors();
  for (int i = 0; i < 3; ++i) Drop(list, 1);
  ExpectRefused(list, AbortReason::kTooFewSurvivors);
}

TEST_F(SurvivorCheatTest, ForeignSurvivor) {
  SurvivorList list = Survivors();
  list.survivors.push_back({"sybil", {}});
  ExpectRefused(list, AbortReason::kSurvivorsNotSubset);
}

TEST_F(SurvivorCheatTest, ForgottenNode) {
  SurvivorList list = Survivors();
  list.survivors.pop_back();
  ExpectRefused(list, AbortReason::kSurvivorsNotSubset);
}

TEST_F(SurvivorCheatTest, BothSharesOfOneNode) {
  SurvivorList list = Survivors();
  list.dropped.push_back(list.survivors[3].node_id);
  ExpectRefused(list, AbortReason::kBothSharesRequested);
}

TEST_F(SurvivorCheatTest, RepeatedSurvivor) {
  SurvivorList list = Survivors();
  list.survivors[2] = list.survivors[1];
  ExpectRefused(list, AbortReason::kRepeatedNode);
}

TEST_F(SurvivorCheatTest, TwoSurvivorLists) {
  ASSERT_TRUE(victim().HandleSurvivorList(FromServer()).ok());
  EXPECT_TRUE(victim().HandleSurvivorList(FromServer()).ok());
  SurvivorList list = Survivors();
  Drop(list, 3);
  ExpectRefused(list, AbortReason::kTwoSurvivorLists);
}

class UnmaskCheatTest : public CheatTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask() && play_.Vouch());
  }
  void ExpectRefused(const SurvivorSignatures& request, AbortReason reason) {
    Expect(victim().HandleSurvivorSignatures(Encode(request)), reason);
  }
};

TEST_F(UnmaskCheatTest, TooFewSignatures) {
  SurvivorSignatures request = Signatures();
  request.signatures.resize(4);
  ExpectRefused(request, AbortReason::kTooFewSignatures);
}

TEST_F(UnmaskCheatTest, ForgedSignature) {
  SurvivorSignatures request = Signatures();
  request.signatures[3].signature[7] ^= 1;
  ExpectRefused(request, AbortReason::kBadSignature);
}

TEST_F(UnmaskCheatTest, OneSignatureCountedTwice) {
  SurvivorSignatures request = Signatures();
  request.signatures[3] = request.signatures[2];
  ExpectRefused(request, AbortReason::kRepeatedNode);
}

TEST_F(UnmaskCheatTest, SignatureOfAStranger) {
  SurvivorSignatures request = Signatures();
  request.signatures.push_back({"sybil", {}});
  ExpectRefused(request, AbortReason::kUnknownMember);
}

TEST_F(UnmaskCheatTest, OthersSignedAnotherList) {
  SurvivorSignatures request = Signatures();
  request.h3[0] ^= 1;
  ExpectRefused(request, AbortReason::kTwoSurvivorLists);
}

TEST_F(UnmaskCheatTest, OneAnswerAndThenNeverAnother) {
  const std::vector<uint8_t> request = FromServer();
  const std::vector<uint8_t> answer = Sent(victim().HandleSurvivorSignatures(request));
  SurvivorSignatures other = Signatures();
  other.signatures.pop_back();
  EXPECT_EQ(ReasonOfStep(victim().HandleSurvivorSignatures(Encode(other))),
            AbortReason::kSecondUnmaskRequest);
  SurvivorList list;
  list.session_id = cohort_.config.session_id;
  EXPECT_EQ(ReasonOfStep(victim().HandleSurvivorList(Encode(list))),
            AbortReason::kTwoSurvivorLists);
  EXPECT_EQ(Sent(victim().HandleSurvivorSignatures(request)), answer);
  ASSERT_TRUE(victim().Close().ok());
  EXPECT_EQ(victim().stage(), ClientStage::kClosed);
  ExpectErased();
}

TEST_F(UnmaskCheatTest, ResultOfAnotherSurvivorList) {
  RoundResult result;
  result.federation_id = cohort_.config.federation_id;
  result.run_id = cohort_.config.run_id;
  result.round = cohort_.config.round;
  result.session_id = cohort_.config.session_id;
  result.contributors = {id(0), id(1)};
  result.h3 = *victim().h3();
  EXPECT_TRUE(victim().CheckResult(result).ok());
  result.h3[0] ^= 1;
  EXPECT_EQ(ReasonOf(victim().CheckResult(result)), AbortReason::kResultMismatch);
  result.session_id[0] ^= 1;
  EXPECT_EQ(ReasonOf(victim().CheckResult(result)), AbortReason::kForeignSession);
}

}  // namespace
}  // namespace choir::secagg
