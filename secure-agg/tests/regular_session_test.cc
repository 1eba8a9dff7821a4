#include <algorithm>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "secure-agg/core/graph.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/merkle.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/tests/cohort.h"

// Whole sessions on a regular graph: each node knows its neighbours only, and the sum is exact all
// the same.
namespace choir::secagg {
namespace {

void ExpectExactSum(Play& play) {
  ASSERT_EQ(play.server.stage(), ServerStage::kDone);
  const SessionSum sum = std::move(play.server).TakeSum().value();
  EXPECT_EQ(sum.packed, play.cohort.PlainSum(sum.contributors));
}

TEST(RegularSessionTest, SumEqualsPlainSumBitForBit) {
  for (const uint32_t n : {20u, 21u, 40u, 64u}) {
    const TestCohort cohort(n, TestRegularConfig(), n);
    ASSERT_FALSE(ShapeOf(cohort.config, n).complete());
    Play play(cohort);
    play.Run();
    SCOPED_TRACE(n);
    ExpectExactSum(play);
  }
}

TEST(RegularSessionTest, SmallCohortsAreComplete) {
  const TestCohort cohort(7, TestRegularConfig(), 7);
  Play play(cohort, {{2, 2}});
  play.Run();
  ExpectExactSum(play);
}

TEST(RegularSessionTest, ANodeLearnsOfItsNeighboursOnly) {
  const TestCohort cohort(60, TestRegularConfig(), 5);
  const GraphShape shape = ShapeOf(cohort.config, 60);
  Play play(cohort);
  ASSERT_TRUE(play.Advertise());
  const auto list = DecodeNeighbourList(play.server.MessageFor(cohort.nodes[9].id).value()).value();
  EXPECT_EQ(list.entries.size(), shape.degree + 1);
  ASSERT_TRUE(play.Share());
  const ShareKeys sent = DecodeShareKeys(Sent(play.clients[9]->CurrentStep())).value();
  EXPECT_EQ(sent.shares.size(), shape.degree);
  const auto delivery =
      DecodeNeighbourDelivery(play.server.MessageFor(cohort.nodes[9].id).value()).value();
  EXPECT_EQ(delivery.shares.size(), shape.degree);
}

TEST(RegularSessionTest, SilenceInEachPhaseLeavesTheExactSum) {
  for (int stage = 0; stage <= 4; ++stage) {
    const TestCohort cohort(60, TestRegularConfig(), 50 + static_cast<uint64_t>(stage));
    std::map<size_t, int> silent;
    for (size_t i = 0; i < 6; ++i) silent[i * 10 + 3] = stage;
    Play play(cohort, silent);
    play.Run();
    SCOPED_TRACE(stage);
    ExpectExactSum(play);
  }
}

// One more than the promised tenth falls silent before its input: the quorum is missed.
TEST(RegularSessionTest, BelowTheQuorumTheSessionEnds) {
  const TestCohort cohort(60, TestRegularConfig(), 77);
  std::map<size_t, int> silent;
  for (size_t i = 0; i < 7; ++i) silent[i] = 2;
  Play play(cohort, silent);
  play.Run();
  EXPECT_EQ(play.server.stage(), ServerStage::kAborted);
  EXPECT_EQ(play.server.abort_reason(), AbortReason::kTooFewSurvivors);
}

// A whole neighbourhood is silent, though the cohort has its quorum: no node's secret may be left
// without t holders, and nothing is opened.
TEST(RegularSessionTest, ANeighbourhoodBelowItsThresholdEndsTheSession) {
  const TestCohort cohort(200, TestRegularConfig(5, 10, 200), 78);
  Play play(cohort);
  ASSERT_TRUE(play.Advertise());
  std::vector<size_t> neighbours;
  const NeighbourList list =
      DecodeNeighbourList(play.server.MessageFor(cohort.nodes[0].id).value()).value();
  for (const NeighbourEntry& entry : list.entries) {
    if (entry.entry.keys.node_id != cohort.nodes[0].id) neighbours.push_back(entry.place);
  }
  const GraphShape shape = ShapeOf(cohort.config, 200);
  for (uint32_t i = 0; i < shape.degree - shape.threshold + 1; ++i) {
    play.silent_from[neighbours[i]] = 2;
  }
  ASSERT_LE(play.silent_from.size(), 200 - shape.quorum);
  ASSERT_TRUE(play.Share());
  EXPECT_FALSE(play.Mask());
  EXPECT_EQ(play.server.abort_reason(), AbortReason::kTooFewSurvivors);
}

TEST(RegularSessionTest, BothSidesGoOnAfterARestartInEveryStage) {
  const TestCohort cohort(24, TestRegularConfig(), 79);
  Play play(cohort, {{5, 2}});
  const auto restart = [&] {
    play.RestartServer();
    for (size_t i = 0; i < play.clients.size(); ++i) {
      const SecretBuffer journal = play.clients[i]->Snapshot();
      const auto before = Sent(play.clients[i]->CurrentStep());
      play.clients[i].emplace(
          ClientSession::Restore(journal.Expose(), *cohort.nodes[i].signer, cohort.authority)
              .value());
      EXPECT_EQ(Sent(play.clients[i]->CurrentStep()), before);
    }
  };
  ASSERT_TRUE(play.Advertise());
  restart();
  ASSERT_TRUE(play.Share());
  restart();
  ASSERT_TRUE(play.Mask());
  restart();
  ASSERT_TRUE(play.Vouch());
  restart();
  ASSERT_TRUE(play.Unmask());
  ExpectExactSum(play);
}

// What a node refuses of a coordinator that lies about the graph.
class RegularCheatTest : public ::testing::Test {
 protected:
  explicit RegularCheatTest(uint32_t size = 40)
      : size_(size), cohort_(size, TestRegularConfig(5, 10, 200), 31), play_(cohort_) {}
  ClientSession& victim() { return *play_.clients[0]; }
  std::vector<uint8_t> FromServer() { return play_.server.MessageFor(cohort_.nodes[0].id).value(); }
  NeighbourList List() { return DecodeNeighbourList(FromServer()).value(); }
  NeighbourDelivery Delivery() { return DecodeNeighbourDelivery(FromServer()).value(); }
  NeighbourSurvivors Survivors() { return DecodeNeighbourSurvivors(FromServer()).value(); }
  std::vector<bool> Set(const std::vector<uint8_t>& bits) { return *UnpackPlaces(bits, size_); }
  void Expect(const absl::StatusOr<Step>& step, AbortReason reason) {
    EXPECT_EQ(ReasonOfStep(step), reason) << step.status().ToString();
    EXPECT_EQ(victim().stage(), ClientStage::kAborted);
    const SecretBuffer tombstone = victim().Snapshot();
    EXPECT_TRUE(
        std::ranges::search(tombstone.Expose(), cohort_.nodes[0].session_seed.Expose()).empty());
  }
  void ExpectRefused(const NeighbourList& list, AbortReason reason) {
    Expect(victim().HandleKeyList(Encode(list)), reason);
  }

  uint32_t size_;
  TestCohort cohort_;
  Play play_;
};

TEST_F(RegularCheatTest, ThresholdLowered) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.threshold -= 1;
  ExpectRefused(list, AbortReason::kBadGraph);
}

TEST_F(RegularCheatTest, DegreeLowered) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.degree -= 2;
  list.entries.resize(list.entries.size() - 2);
  ExpectRefused(list, AbortReason::kBadGraph);
}

TEST_F(RegularCheatTest, OtherSizeOfTheCohort) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.cohort_size = 2;
  ExpectRefused(list, AbortReason::kCohortBelowMinimum);
}

TEST_F(RegularCheatTest, CohortAboveTheMaximum) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.cohort_size = 4'000'000'000;
  ExpectRefused(list, AbortReason::kCohortAboveMaximum);
}

TEST_F(RegularCheatTest, BadMerklePath) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.entries[3].path[1][0] ^= 1;
  ExpectRefused(list, AbortReason::kBadMerklePath);
}

TEST_F(RegularCheatTest, AnotherRootThanTheOthersSaw) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.root[0] ^= 1;
  ExpectRefused(list, AbortReason::kBadMerklePath);
}

TEST_F(RegularCheatTest, EntryAtAnotherPlace) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  std::swap(list.entries[3].place, list.entries[4].place);
  ExpectRefused(list, AbortReason::kBadMerklePath);
}

// Wrong neighbour: a certified member with a true path, but not one that the ring puts beside this
// node.
TEST_F(RegularCheatTest, WrongNeighbour) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  std::vector<bool> listed(40);
  for (const NeighbourEntry& entry : list.entries) listed[entry.place] = true;
  const auto stranger = static_cast<uint32_t>(std::ranges::find(listed, false) - listed.begin());
  for (const TestNode& other : cohort_.nodes) {
    const NeighbourList theirs =
        DecodeNeighbourList(play_.server.MessageFor(other.id).value()).value();
    for (const NeighbourEntry& entry : theirs.entries) {
      if (entry.place == stranger) list.entries.back() = entry;
    }
  }
  std::ranges::sort(list.entries, {}, &NeighbourEntry::place);
  ExpectRefused(list, AbortReason::kWrongNeighbour);
}

// Wrong permutation: all entries are true, but they are another node's neighbourhood.
TEST_F(RegularCheatTest, WrongPermutation) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  const NeighbourEntry own = *std::ranges::find(list.entries, 0u, &NeighbourEntry::place);
  for (size_t i = 1; i < cohort_.nodes.size(); ++i) {
    NeighbourList other =
        DecodeNeighbourList(play_.server.MessageFor(cohort_.nodes[i].id).value()).value();
    if (other.entries.front().place == 0) continue;
    other.entries.pop_back();
    other.entries.insert(other.entries.begin(), own);
    return ExpectRefused(other, AbortReason::kWrongNeighbour);
  }
  FAIL() << "every node is a neighbour of the first";
}

TEST_F(RegularCheatTest, MissingNeighbour) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.entries.pop_back();
  ExpectRefused(list, AbortReason::kWrongNeighbour);
}

TEST_F(RegularCheatTest, NeighbourOfAForeignDevice) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.entries[2].entry.credential[0] ^= 1;
  ExpectRefused(list, AbortReason::kForeignKey);
}

TEST_F(RegularCheatTest, RepeatedKeyAmongNeighbours) {
  ASSERT_TRUE(play_.Advertise());
  NeighbourList list = List();
  list.entries[2].entry.keys.nonce = list.entries[3].entry.keys.nonce;
  ExpectRefused(list, AbortReason::kRepeatedKey);
}

TEST_F(RegularCheatTest, CompleteGraphsListInsteadIsMalformed) {
  ASSERT_TRUE(play_.Advertise());
  EXPECT_EQ(ReasonOfStep(victim().HandleKeyList(Encode(KeyList{cohort_.config.session_id, {}}))),
            AbortReason::kMalformedMessage);
  EXPECT_TRUE(victim().HandleKeyList(FromServer()).ok());
}

TEST_F(RegularCheatTest, TooFewShareholders) {
  ASSERT_TRUE(play_.Advertise() && play_.Share());
  NeighbourDelivery delivery = Delivery();
  std::vector<bool> set = Set(delivery.members);
  for (size_t i = 30; i < 40; ++i) set[i] = false;
  delivery.members = PackPlaces(set);
  Expect(victim().HandleShareDelivery(Encode(delivery)), AbortReason::kTooFewShareholders);
}

TEST_F(RegularCheatTest, ShareholdersOutsideTheCohort) {
  ASSERT_TRUE(play_.Advertise() && play_.Share());
  NeighbourDelivery delivery = Delivery();
  delivery.members.push_back(1);
  Expect(victim().HandleShareDelivery(Encode(delivery)), AbortReason::kUnknownMember);
}

TEST_F(RegularCheatTest, MissingCiphertextOfANeighbour) {
  ASSERT_TRUE(play_.Advertise() && play_.Share());
  NeighbourDelivery delivery = Delivery();
  delivery.shares.pop_back();
  Expect(victim().HandleShareDelivery(Encode(delivery)), AbortReason::kUnknownMember);
}

TEST_F(RegularCheatTest, LeftOut) {
  ASSERT_TRUE(play_.Advertise() && play_.Share());
  NeighbourDelivery delivery = Delivery();
  delivery.members[0] &= 0xfe;
  Expect(victim().HandleShareDelivery(Encode(delivery)), AbortReason::kLeftOut);
}

TEST_F(RegularCheatTest, DeclaredDropped) {
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask());
  NeighbourSurvivors message = Survivors();
  message.survivors[0] &= 0xfe;
  Expect(victim().HandleSurvivorList(Encode(message)), AbortReason::kDeclaredDropped);
}

TEST_F(RegularCheatTest, OwnInputNotUnderTheRoot) {
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask());
  NeighbourSurvivors message = Survivors();
  message.input_root[0] ^= 1;
  Expect(victim().HandleSurvivorList(Encode(message)), AbortReason::kWrongInputHash);
}

TEST_F(RegularCheatTest, SurvivorThatNeverShared) {
  play_.silent_from[7] = 1;
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask());
  NeighbourSurvivors message = Survivors();
  message.survivors[0] |= 0x80;
  Expect(victim().HandleSurvivorList(Encode(message)), AbortReason::kSurvivorsNotSubset);
}

// The coordinator knows all input hashes: it can make a true root and path for any set.
class RegularSurvivorCheatTest : public RegularCheatTest {
 protected:
  explicit RegularSurvivorCheatTest(uint32_t size = 40) : RegularCheatTest(size) {}
  void SetUp() override {
    ASSERT_TRUE(play_.Advertise());
    list_ = List();
    ASSERT_TRUE(play_.Share() && play_.Mask());
  }
  NeighbourSurvivors Without(const std::vector<uint32_t>& places) {
    std::vector<bool> set(size_, true);
    for (const uint32_t place : places) set[place] = false;
    std::vector<Digest> leaves;
    for (uint32_t i = 0; i < size_; ++i) {
      if (!set[i]) continue;
      const auto header = DecodeMaskedInputHeader(Sent(play_.clients[i]->CurrentStep())).value();
      leaves.push_back(HashInputLeaf(static_cast<uint32_t>(leaves.size()), header.input_hash));
    }
    const MerkleTree tree(leaves);
    return {cohort_.config.session_id, PackPlaces(set), tree.root(), tree.Path(0)};
  }
  NeighbourList list_;
};

TEST_F(RegularSurvivorCheatTest, QuorumMissed) {
  std::vector<uint32_t> gone;
  for (uint32_t i = 1; i <= 5; ++i) gone.push_back(i);
  Expect(victim().HandleSurvivorList(Encode(Without(gone))), AbortReason::kTooFewSurvivors);
}

class LargeSurvivorCheatTest : public RegularSurvivorCheatTest {
 protected:
  LargeSurvivorCheatTest() : RegularSurvivorCheatTest(200) {}
};

// As many as the quorum allows are called dropped, all of them this node's neighbours.
TEST_F(LargeSurvivorCheatTest, NeighbourhoodStarved) {
  const GraphShape shape = ShapeOf(cohort_.config, size_);
  std::vector<uint32_t> starved;
  for (const NeighbourEntry& entry : list_.entries) {
    if (entry.place != 0 && starved.size() < size_ - shape.quorum) starved.push_back(entry.place);
  }
  ASSERT_GT(starved.size(), shape.degree - shape.threshold);
  Expect(victim().HandleSurvivorList(Encode(Without(starved))), AbortReason::kTooFewSurvivors);
}

TEST_F(RegularSurvivorCheatTest, AnHonestSetOfFewerIsFine) {
  EXPECT_TRUE(victim().HandleSurvivorList(Encode(Without({5, 6}))).ok());
}

TEST_F(RegularCheatTest, TwoSurvivorLists) {
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask());
  ASSERT_TRUE(victim().HandleSurvivorList(FromServer()).ok());
  NeighbourSurvivors message = Survivors();
  message.survivors[1] &= 0xfe;
  Expect(victim().HandleSurvivorList(Encode(message)), AbortReason::kTwoSurvivorLists);
}

TEST_F(RegularCheatTest, SignaturesOfStrangersDoNotCount) {
  ASSERT_TRUE(play_.Advertise());
  std::vector<bool> listed(40);
  const NeighbourList list = List();
  for (const NeighbourEntry& entry : list.entries) listed[entry.place] = true;
  ASSERT_TRUE(play_.Share() && play_.Mask() && play_.Vouch());
  SurvivorSignatures request = DecodeSurvivorSignatures(FromServer()).value();
  const auto stranger = static_cast<size_t>(std::ranges::find(listed, false) - listed.begin());
  const auto signature =
      DecodeConsistencySignature(Sent(play_.clients[stranger]->CurrentStep())).value().signature;
  request.signatures.push_back({cohort_.nodes[stranger].id, signature});
  std::ranges::sort(request.signatures, {}, &NodeSignature::node_id);
  Expect(victim().HandleSurvivorSignatures(Encode(request)), AbortReason::kUnknownMember);
}

TEST_F(RegularCheatTest, TooFewNeighboursVouch) {
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask() && play_.Vouch());
  SurvivorSignatures request = DecodeSurvivorSignatures(FromServer()).value();
  request.signatures.resize(ShapeOf(cohort_.config, 40).threshold - 1);
  Expect(victim().HandleSurvivorSignatures(Encode(request)), AbortReason::kTooFewSignatures);
}

TEST(RegularPolicyTest, OwnersFloorForTheGraph) {
  const TestCohort cohort(24, TestRegularConfig(), 3);
  ClientPolicyOptions options;
  options.min_cohort = 3;
  for (const uint32_t floor : {6u, 100u}) {
    options.min_corrupt_percent = floor;
    const auto session = ClientSession::Start(
        Encode(cohort.config), cohort.ContextOf(0), ClientPolicy::Create(options).value(),
        *cohort.nodes[0].signer, cohort.authority, SeedFrom("s", 1));
    EXPECT_EQ(ReasonOf(session.status()), AbortReason::kGraphNotAllowed);
  }
}

}  // namespace
}  // namespace choir::secagg
