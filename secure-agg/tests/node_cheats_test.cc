#include <algorithm>

#include <gtest/gtest.h>

#include "secure-agg/core/transcript.h"
#include "secure-agg/tests/cohort.h"

// What the coordinator refuses of lying or broken nodes; the session goes on without them.
namespace choir::secagg {
namespace {

class NodeCheatTest : public ::testing::Test {
 protected:
  const NodeId& id(size_t i) const { return cohort_.nodes[i].id; }
  std::vector<uint8_t> Keys(size_t i) { return Sent(cohort_.StartClient(i).value().CurrentStep()); }
  std::optional<AbortReason> Advertise(const DeviceIdentity& who, const AdvertiseKeys& keys) {
    return ReasonOf(play_.server.AddAdvertiseKeys(who, Encode(keys)));
  }
  void ExpectExactSum() {
    ASSERT_EQ(play_.server.stage(), ServerStage::kDone);
    const SessionSum sum = std::move(play_.server).TakeSum().value();
    EXPECT_EQ(sum.packed, cohort_.PlainSum(sum.contributors));
  }

  TestCohort cohort_{7, TestConfig(), 41};
  Play play_{cohort_};
};

TEST_F(NodeCheatTest, UncertifiedForgedAndBorrowedKeysAreRefused) {
  const AdvertiseKeys keys = DecodeAdvertiseKeys(Keys(1)).value();
  DeviceIdentity uncertified = cohort_.nodes[1].identity;
  uncertified.credential[0] ^= 1;
  EXPECT_EQ(Advertise(uncertified, keys), AbortReason::kForeignKey);
  EXPECT_EQ(Advertise(cohort_.nodes[2].identity, keys), AbortReason::kForeignSession);
  AdvertiseKeys forged = keys;
  forged.nonce[0] ^= 1;
  EXPECT_EQ(Advertise(cohort_.nodes[1].identity, forged), AbortReason::kBadSignature);
  ASSERT_TRUE(play_.server.AddAdvertiseKeys(cohort_.nodes[1].identity, Encode(keys)).ok());
  AdvertiseKeys borrowed = DecodeAdvertiseKeys(Keys(2)).value();
  borrowed.mask_key = keys.mask_key;
  borrowed.signature =
      cohort_.nodes[2]
          .signer->Sign(AdvertiseSigningBytes(HashConfig(cohort_.config), borrowed))
          .value();
  EXPECT_EQ(Advertise(cohort_.nodes[2].identity, borrowed), AbortReason::kRepeatedKey);
}

TEST_F(NodeCheatTest, SecondDifferentKeysAreRefused) {
  ASSERT_TRUE(play_.server.AddAdvertiseKeys(cohort_.nodes[1].identity, Keys(1)).ok());
  const auto other =
      ClientSession::Start(Encode(cohort_.config), cohort_.ContextOf(1), cohort_.Policy(),
                           *cohort_.nodes[1].signer, cohort_.authority, SeedFrom("another", 1));
  EXPECT_EQ(ReasonOf(play_.server.AddAdvertiseKeys(cohort_.nodes[1].identity,
                                                   Sent(other->CurrentStep()))),
            AbortReason::kRepeatedNode);
}

TEST_F(NodeCheatTest, LateAndEarlyMessagesAreRefusedAndHarmless) {
  const std::vector<uint8_t> late = Keys(6);
  play_.silent_from[6] = 0;
  ASSERT_TRUE(play_.Advertise());
  EXPECT_EQ(ReasonOf(play_.server.AddAdvertiseKeys(cohort_.nodes[6].identity, late)),
            AbortReason::kTooLate);
  const ConsistencySignature early{cohort_.config.session_id, id(1), {}, {}};
  EXPECT_EQ(ReasonOf(play_.server.AddConsistencySignature(id(1), Encode(early))),
            AbortReason::kUnexpectedMessage);
  EXPECT_EQ(ReasonOf(play_.server.MessageFor(id(6)).status()), AbortReason::kLeftOut);
  EXPECT_EQ(play_.server.StateOf(id(6)), NodeState::kUnknown);
  ASSERT_TRUE(play_.Share() && play_.Mask() && play_.Vouch() && play_.Unmask());
  ExpectExactSum();
}

TEST_F(NodeCheatTest, SharesForTheWrongNodesAreRefused) {
  ASSERT_TRUE(play_.Advertise());
  ShareKeys shares =
      DecodeShareKeys(Sent(play_.clients[1]->HandleKeyList(play_.server.MessageFor(id(1)).value())))
          .value();
  ShareKeys fewer = shares;
  fewer.shares.pop_back();
  EXPECT_EQ(ReasonOf(play_.server.AddShareKeys(id(1), Encode(fewer))), AbortReason::kBadShare);
  shares.signature[0] ^= 1;
  EXPECT_EQ(ReasonOf(play_.server.AddShareKeys(id(1), Encode(shares))), AbortReason::kBadSignature);
}

class InputCheatTest : public NodeCheatTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(play_.Advertise() && play_.Share());
    Sent(play_.clients[1]->HandleShareDelivery(play_.server.MessageFor(id(1)).value()));
    header_ = DecodeMaskedInputHeader(Sent(play_.clients[1]->MaskInput(cohort_.nodes[1].values())))
                  .value();
    data_ = DecodeMaskedInputChunk(play_.clients[1]->Chunk(0).value()).value().data;
  }
  void Sign() {
    const KeyList list = DecodeKeyList(Encode(List())).value();
    const Digest h0 = HashConfig(cohort_.config);
    const Digest h1 = HashKeyList(h0, list);
    std::vector<NodeId> members;
    for (const TestNode& node : cohort_.nodes) members.push_back(node.id);
    header_.signature =
        cohort_.nodes[1]
            .signer->Sign(InputSigningBytes(h0, h1, HashMembers(h1, members), header_))
            .value();
  }
  KeyList List() {
    KeyList list{cohort_.config.session_id, {}};
    for (const TestNode& node : cohort_.nodes) {
      list.entries.push_back(
          {node.identity.device_key, node.identity.credential,
           DecodeAdvertiseKeys(Sent(cohort_.StartClient(list.entries.size())->CurrentStep()))
               .value()});
    }
    return list;
  }
  std::optional<AbortReason> Add() {
    return ReasonOf(play_.server.AddInput(id(1), Encode(header_), data_));
  }
  MaskedInputHeader header_;
  std::vector<uint8_t> data_;
};

TEST_F(InputCheatTest, WrongLengthIsRefusedBeforeAnyChunk) {
  header_.total_bytes += 4;
  Sign();
  EXPECT_EQ(ReasonOf(play_.server.CheckInputHeader(id(1), Encode(header_)).status()),
            AbortReason::kShapeMismatch);
}

TEST_F(InputCheatTest, ForgedHeaderIsRefused) {
  header_.input_hash[0] ^= 1;
  EXPECT_EQ(Add(), AbortReason::kBadSignature);
}

TEST_F(InputCheatTest, OtherBytesThanAnnouncedAreNotAdded) {
  data_[0] ^= 1;
  EXPECT_EQ(Add(), AbortReason::kChunkDamaged);
  EXPECT_EQ(play_.server.StateOf(id(1)), NodeState::kShared);
}

TEST_F(InputCheatTest, SecondInputIsRefusedAndTheFirstIsCountedOnce) {
  ASSERT_EQ(Add(), std::nullopt);
  ASSERT_EQ(Add(), std::nullopt);
  MaskedInputHeader first = header_;
  header_.input_hash[0] ^= 1;
  Sign();
  EXPECT_EQ(Add(), AbortReason::kSecondMaskedInput);
  header_ = first;
  ASSERT_TRUE(play_.clients[1]->MarkUploaded().ok());
  for (size_t i : {0u, 2u, 3u, 4u, 5u, 6u}) {
    Sent(play_.clients[i]->HandleShareDelivery(play_.server.MessageFor(id(i)).value()));
    Sent(play_.clients[i]->MaskInput(cohort_.nodes[i].values()));
    ASSERT_TRUE(play_.Upload(i).ok());
  }
  ASSERT_TRUE(play_.server.StageComplete());
  ASSERT_TRUE(play_.server.CloseStage().ok());
  ASSERT_TRUE(play_.Vouch() && play_.Unmask());
  ExpectExactSum();
}

class AnswerCheatTest : public NodeCheatTest {
 protected:
  // Node 0 gives its answer, changed by `change` and signed again; the others answer honestly. Its
  // shares are the first that the coordinator tries.
  template <typename Change>
  absl::Status Answer(Change change) {
    EXPECT_TRUE(play_.Advertise() && play_.Share());
    play_.silent_from[5] = 2;
    EXPECT_TRUE(play_.Mask() && play_.Vouch());
    UnmaskShares answer = DecodeUnmaskShares(Sent(play_.clients[0]->HandleSurvivorSignatures(
                                                 play_.server.MessageFor(id(0)).value())))
                              .value();
    change(answer);
    const Digest h3 = *play_.clients[0]->h3();
    answer.signature = cohort_.nodes[0].signer->Sign(UnmaskSigningBytes(h3, answer)).value();
    play_.silent_from[0] = 4;
    return play_.server.AddUnmaskShares(id(0), Encode(answer));
  }
};

TEST_F(AnswerCheatTest, SharesNotAskedForAreRefused) {
  EXPECT_EQ(
      ReasonOf(Answer([](UnmaskShares& answer) { answer.shares[0].kind = ShareKind::kMaskKey; })),
      AbortReason::kBadShare);
  EXPECT_TRUE(play_.Unmask());
  ExpectExactSum();
}

TEST_F(AnswerCheatTest, OneLyingShareIsGotRound) {
  ASSERT_TRUE(Answer([](UnmaskShares& answer) {
                for (UnmaskShare& share : answer.shares) share.share[3] ^= 1;
              }).ok());
  EXPECT_TRUE(play_.Unmask());
  EXPECT_EQ(play_.server.liars(), std::vector<NodeId>{id(0)});
  ExpectExactSum();
}

// At odds with as many as may lie themselves: either of the two could be the liar.
TEST_F(AnswerCheatTest, NobodyIsNamedOnTheWordOfTooFew) {
  ASSERT_TRUE(Answer([](UnmaskShares& answer) {
                for (size_t i : {2u, 3u}) answer.shares[i].share[3] ^= 1;
              }).ok());
  EXPECT_TRUE(play_.Unmask());
  EXPECT_EQ(play_.server.liars(), std::vector<NodeId>{});
  ExpectExactSum();
}

// One more than the two of seven that may lie, also by keeping shares back.
TEST_F(AnswerCheatTest, HolderOfWrongAndMissingSharesIsNamed) {
  ASSERT_TRUE(Answer([](UnmaskShares& answer) {
                for (size_t i : {2u, 3u}) answer.shares[i].share[3] ^= 1;
                answer.shares.erase(answer.shares.begin() + 6);
              }).ok());
  EXPECT_TRUE(play_.Unmask());
  EXPECT_EQ(play_.server.liars(), std::vector<NodeId>{id(0)});
  ExpectExactSum();
}

// Node 6 seals garbage for `count` of the others.
class DealerCheatTest : public NodeCheatTest {
 protected:
  void Deal(size_t count) {
    ASSERT_TRUE(play_.Advertise());
    for (size_t i = 0; i < 7; ++i) {
      ShareKeys shares =
          DecodeShareKeys(
              Sent(play_.clients[i]->HandleKeyList(play_.server.MessageFor(id(i)).value())))
              .value();
      if (i == 6) {
        for (size_t k = 0; k < count; ++k) shares.shares[k].sealed.fill(0x5a);
        const Digest h0 = HashConfig(cohort_.config);
        const Digest h1 =
            HashKeyList(h0, DecodeKeyList(play_.server.MessageFor(id(i)).value()).value());
        shares.signature = cohort_.nodes[i].signer->Sign(ShareSigningBytes(h0, h1, shares)).value();
      }
      ASSERT_TRUE(play_.server.AddShareKeys(id(i), Encode(shares)).ok());
    }
    ASSERT_TRUE(play_.server.CloseStage().ok());
  }
};

TEST_F(DealerCheatTest, SessionEndsWithoutItsSharesAndItIsNamed) {
  Deal(6);
  ASSERT_TRUE(play_.Mask() && play_.Vouch());
  EXPECT_FALSE(play_.Unmask());
  EXPECT_EQ(play_.server.abort_reason(), AbortReason::kTooFewUnmaskShares);
  EXPECT_EQ(play_.server.liars(), std::vector<NodeId>{id(6)});
}

TEST_F(DealerCheatTest, SumIsExactWhileEnoughSharesAreGood) {
  Deal(2);
  ASSERT_TRUE(play_.Mask() && play_.Vouch() && play_.Unmask());
  // Two of seven may lie: it may have been they.
  EXPECT_EQ(play_.server.liars(), std::vector<NodeId>{});
  ExpectExactSum();
}

TEST_F(AnswerCheatTest, LyingShareWithNoneToSpareEndsTheSession) {
  ASSERT_TRUE(Answer([](UnmaskShares& answer) {
                for (UnmaskShare& share : answer.shares) share.share[3] ^= 1;
              }).ok());
  play_.silent_from[4] = 4;
  EXPECT_FALSE(play_.Unmask());
  EXPECT_EQ(play_.server.abort_reason(), AbortReason::kBadShare);
  EXPECT_FALSE(std::move(play_.server).TakeSum().ok());
}

}  // namespace
}  // namespace choir::secagg
