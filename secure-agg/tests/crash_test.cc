#include <functional>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "secure-agg/core/chunks.h"
#include "secure-agg/tests/cohort.h"

// Either side may die at any instruction: what was made durable goes on with identical bytes.
namespace choir::secagg {
namespace {

// A session in which both sides keep only what they persisted: every node is restored from its
// journal before each message, the coordinator from its store before and after each, if `crash`
// says so.
class CrashingSession {
 public:
  CrashingSession(const TestCohort& cohort, bool crash);
  // All that both sides said, in order: what a crash must not change.
  std::vector<std::vector<uint8_t>> Run();
  // The sum; where the store does not have it, it is computed again from the spools.
  SessionSum Sum();

 private:
  using Handler = std::function<absl::StatusOr<Step>(ClientSession&, std::span<const uint8_t>)>;
  using Add = absl::Status (ServerSession::*)(const NodeId&, std::span<const uint8_t>);

  // The coordinator and a node as they live now: reborn if there are crashes.
  ServerSession& Server();
  ClientSession Node(size_t i);
  // After a message to the coordinator, or a stage of it: what it makes durable.
  void Told(const absl::Status& status);
  void Close() { Told(Server().CloseStage()); }
  std::vector<uint8_t> Persist(size_t i, absl::StatusOr<Step> step);
  void Keep(size_t i, ClientSession session);
  void Stage(const Handler& handle, Add add);
  void Input(size_t i);
  void SendChunk(size_t i, uint32_t sequence, ClientSession& masked);

  const TestCohort& cohort_;
  bool crash_;
  std::vector<std::vector<uint8_t>> journals_;
  SessionStore store_;
  std::optional<ServerSession> live_;
  std::map<size_t, ClientSession> clients_;
  std::map<size_t, std::vector<uint8_t>> last_;
  std::map<NodeId, std::vector<uint8_t>> headers_;
  std::map<NodeId, std::vector<uint8_t>> spools_;
  std::vector<std::vector<uint8_t>> said_;
};

CrashingSession::CrashingSession(const TestCohort& cohort, bool crash)
    : cohort_(cohort), crash_(crash), journals_(cohort.nodes.size()) {
  live_.emplace(ServerSession::Open(cohort.config, cohort.authority).value());
  store_.Keep(*live_);
}

std::vector<std::vector<uint8_t>> CrashingSession::Run() {
  for (size_t i = 0; i < journals_.size(); ++i) {
    ClientSession session = cohort_.StartClient(i).value();
    const auto message = Persist(i, session.CurrentStep());
    Keep(i, std::move(session));
    Told(Server().AddAdvertiseKeys(cohort_.nodes[i].identity, message));
  }
  Close();
  Stage([](ClientSession& node, auto bytes) { return node.HandleKeyList(bytes); },
        &ServerSession::AddShareKeys);
  Close();
  for (size_t i = 0; i < journals_.size(); ++i) Input(i);
  Close();
  Stage([](ClientSession& node, auto bytes) { return node.HandleSurvivorList(bytes); },
        &ServerSession::AddConsistencySignature);
  Close();
  Stage([](ClientSession& node, auto bytes) { return node.HandleSurvivorSignatures(bytes); },
        &ServerSession::AddUnmaskShares);
  Close();
  // The store has no sum: it goes back to the last stage that it can go on from.
  EXPECT_EQ(Server().stage(), crash_ ? ServerStage::kUnmasking : ServerStage::kDone);
  return said_;
}

SessionSum CrashingSession::Sum() {
  ServerSession& server = Server();
  if (server.stage() == ServerStage::kUnmasking) {
    EXPECT_TRUE(server.CloseStage().ok());
  }
  return std::move(server).TakeSum().value();
}

ServerSession& CrashingSession::Server() {
  if (!crash_) return *live_;
  live_.emplace(ServerSession::Restore(store_.Pieces(), cohort_.authority).value());
  for (const NodeId& id : live_->InputsToReplay()) {
    EXPECT_FALSE(live_->CloseStage().ok());
    EXPECT_TRUE(live_->AddInput(id, headers_[id], spools_[id]).ok());
  }
  return *live_;
}

ClientSession CrashingSession::Node(size_t i) {
  if (!crash_) {
    ClientSession session = std::move(clients_.at(i));
    clients_.erase(i);
    return session;
  }
  ClientSession session =
      ClientSession::Restore(journals_[i], *cohort_.nodes[i].signer, cohort_.authority).value();
  // After the crash the identical message is there to be sent again.
  EXPECT_EQ(Sent(session.CurrentStep()), last_[i]);
  return session;
}

void CrashingSession::Told(const absl::Status& status) {
  EXPECT_TRUE(status.ok()) << status.ToString();
  store_.Keep(*live_);
}

std::vector<uint8_t> CrashingSession::Persist(size_t i, absl::StatusOr<Step> step) {
  EXPECT_TRUE(step.ok()) << step.status().ToString();
  std::vector<uint8_t> message = std::move(*step)
                                     .Release([&](std::span<const uint8_t> journal) {
                                       journals_[i].assign(journal.begin(), journal.end());
                                       return absl::OkStatus();
                                     })
                                     .value();
  said_.push_back(message);
  last_[i] = message;
  return message;
}

void CrashingSession::Keep(size_t i, ClientSession session) {
  if (!crash_) clients_.emplace(i, std::move(session));
}

void CrashingSession::Stage(const Handler& handle, Add add) {
  for (size_t i = 0; i < journals_.size(); ++i) {
    const NodeId& id = cohort_.nodes[i].id;
    const std::vector<uint8_t> told = Server().MessageFor(id).value();
    said_.push_back(told);
    ClientSession node = Node(i);
    const std::vector<uint8_t> message = Persist(i, handle(node, told));
    Keep(i, std::move(node));
    Told((Server().*add)(id, message));
  }
}

void CrashingSession::Input(size_t i) {
  const NodeId& id = cohort_.nodes[i].id;
  const std::vector<uint8_t> told = Server().MessageFor(id).value();
  said_.push_back(told);
  ClientSession ready = Node(i);
  Persist(i, ready.HandleShareDelivery(told));
  Keep(i, std::move(ready));
  ClientSession masked = Node(i);
  headers_[id] = Persist(i, masked.MaskInput(cohort_.nodes[i].values()));
  for (uint32_t k = 0; k < masked.num_chunks(); ++k) SendChunk(i, k, masked);
  Keep(i, std::move(masked));
  Told(Server().AddInput(id, headers_[id], spools_[id]));
}

void CrashingSession::SendChunk(size_t i, uint32_t sequence, ClientSession& masked) {
  const NodeId& id = cohort_.nodes[i].id;
  if (crash_) {
    masked = Node(i);
    EXPECT_EQ(masked.num_chunks(), 0u);
    EXPECT_EQ(Persist(i, masked.MaskInput(cohort_.nodes[i].values())), headers_[id]);
  }
  const auto chunk = DecodeMaskedInputChunk(masked.Chunk(sequence).value()).value();
  said_.push_back(chunk.data);
  ChunkAssembler assembler =
      ChunkAssembler::Resume(Server().CheckInputHeader(id, headers_[id]).value(), spools_[id])
          .value();
  EXPECT_EQ(assembler.next(), sequence);
  EXPECT_TRUE(assembler.Accept(chunk).value());
  spools_[id].insert(spools_[id].end(), chunk.data.begin(), chunk.data.end());
}

// Repeats of the same message (after a restart in kMasked) are said once in an uninterrupted
// session.
std::vector<std::vector<uint8_t>> Distinct(const std::vector<std::vector<uint8_t>>& said) {
  std::vector<std::vector<uint8_t>> distinct;
  for (const auto& message : said) {
    if (std::ranges::find(distinct, message) == distinct.end()) distinct.push_back(message);
  }
  return distinct;
}

TEST(CrashTest, CrashesAtEveryStepChangeNoByte) {
  // Two chunks and a bit.
  const TestCohort cohort(4, TestConfig(600'000), 51);
  CrashingSession steady(cohort, false);
  CrashingSession crashing(cohort, true);
  const auto said = steady.Run();
  EXPECT_EQ(Distinct(crashing.Run()), Distinct(said));
  const SessionSum sum = crashing.Sum();
  EXPECT_EQ(sum.packed, steady.Sum().packed);
  EXPECT_EQ(sum.packed, cohort.PlainSum(sum.contributors));
}

class JournalTest : public ::testing::Test {
 protected:
  ClientSession Reborn(size_t i) {
    return ClientSession::Restore(play_.clients[i]->Snapshot().Expose(), *cohort_.nodes[i].signer,
                                  cohort_.authority)
        .value();
  }
  TestCohort cohort_{4, TestConfig(), 53};
  Play play_{cohort_};
};

TEST_F(JournalTest, OtherValuesAfterARestartNeverMakeASecondInput) {
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask());
  ClientSession node = Reborn(0);
  EXPECT_EQ(ReasonOfStep(node.MaskInput(cohort_.nodes[1].values())),
            AbortReason::kSecondMaskedInput);
  EXPECT_EQ(node.stage(), ClientStage::kAborted);
  EXPECT_TRUE(node.input_spent());
}

TEST_F(JournalTest, RebornNodeKeepsItsOneListAndItsOneAnswer) {
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask() && play_.Vouch());
  ClientSession node = Reborn(0);
  SurvivorList list{cohort_.config.session_id, {}, {}};
  EXPECT_EQ(ReasonOfStep(node.HandleSurvivorList(Encode(list))), AbortReason::kTwoSurvivorLists);
  const auto request = play_.server.MessageFor(cohort_.nodes[1].id).value();
  const auto answer = Sent(play_.clients[1]->HandleSurvivorSignatures(request));
  ClientSession answered = Reborn(1);
  EXPECT_EQ(Sent(answered.CurrentStep()), answer);
  EXPECT_EQ(Sent(answered.HandleSurvivorSignatures(request)), answer);
  SurvivorSignatures other = DecodeSurvivorSignatures(request).value();
  other.signatures.pop_back();
  EXPECT_EQ(ReasonOfStep(answered.HandleSurvivorSignatures(Encode(other))),
            AbortReason::kSecondUnmaskRequest);
}

TEST_F(JournalTest, RebornNodeKnowsThatItsInputWasAcknowledged) {
  ASSERT_TRUE(play_.Advertise() && play_.Share() && play_.Mask());
  SurvivorList list =
      DecodeSurvivorList(play_.server.MessageFor(cohort_.nodes[0].id).value()).value();
  list.dropped.push_back(list.survivors[0].node_id);
  list.survivors.erase(list.survivors.begin());
  ClientSession node = Reborn(0);
  EXPECT_EQ(ReasonOfStep(node.HandleSurvivorList(Encode(list))), AbortReason::kDeclaredDropped);
}

TEST_F(JournalTest, TombstonesStayTombstones) {
  ASSERT_TRUE(play_.Advertise());
  (void)play_.clients[0]->Abandon(AbortReason::kCancelled);
  ClientSession node = Reborn(0);
  EXPECT_EQ(node.stage(), ClientStage::kAborted);
  EXPECT_EQ(node.abort_reason(), AbortReason::kCancelled);
  EXPECT_EQ(node.round_counter(), 12u);
  EXPECT_EQ(ReasonOfStep(node.HandleKeyList(play_.server.MessageFor(cohort_.nodes[0].id).value())),
            AbortReason::kSessionOver);
}

TEST_F(JournalTest, FailedWriteKeepsTheMessageBack) {
  const ClientSession node = cohort_.StartClient(0).value();
  const auto sent = node.CurrentStep().value().Release(
      [](auto) { return absl::ResourceExhaustedError("disk full"); });
  EXPECT_EQ(sent.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(JournalTest, DamagedJournalsAreRefused) {
  ASSERT_TRUE(play_.Advertise() && play_.Share());
  const SecretBuffer journal = play_.clients[0]->Snapshot();
  for (size_t at = 0; at < journal.Expose().size(); at += 13) {
    std::vector<uint8_t> bytes(journal.Expose().begin(), journal.Expose().end());
    bytes[at] ^= 0x40;
    EXPECT_EQ(
        ReasonOf(
            ClientSession::Restore(bytes, *cohort_.nodes[0].signer, cohort_.authority).status()),
        AbortReason::kDamagedJournal);
    bytes.resize(at);
    EXPECT_FALSE(ClientSession::Restore(bytes, *cohort_.nodes[0].signer, cohort_.authority).ok());
  }
}

class PiecesTest : public ::testing::Test {
 protected:
  PiecesTest() {
    EXPECT_TRUE(play_.Advertise() && play_.Share());
    play_.store.Keep(play_.server);
    pieces_ = play_.store.Pieces();
  }
  [[nodiscard]] std::optional<AbortReason> RestoreReason() const {
    return ReasonOf(ServerSession::Restore(pieces_, cohort_.authority).status());
  }
  TestCohort cohort_{4, TestConfig(), 53};
  Play play_{cohort_};
  std::vector<SessionPiece> pieces_;
};

TEST_F(PiecesTest, ComeBackInAnyOrder) {
  std::ranges::reverse(pieces_);
  EXPECT_TRUE(ServerSession::Restore(pieces_, cohort_.authority).ok());
}

TEST_F(PiecesTest, DamagedByteIsRefused) {
  for (SessionPiece& piece : pieces_) {
    for (size_t at = 0; at < piece.value.size(); at += 7) {
      piece.value[at] ^= 0x40;
      EXPECT_EQ(RestoreReason(), AbortReason::kDamagedJournal) << piece.key[0] << " " << at;
      piece.value[at] ^= 0x40;
    }
  }
}

TEST_F(PiecesTest, MissingTornAndStrangePiecesAreRefused) {
  const std::vector<SessionPiece> good = pieces_;
  for (size_t i = 0; i < good.size(); ++i) {
    pieces_ = good;
    pieces_.erase(pieces_.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_EQ(RestoreReason(), AbortReason::kDamagedJournal) << i;
    pieces_ = good;
    pieces_[i].value.pop_back();
    EXPECT_EQ(RestoreReason(), AbortReason::kDamagedJournal) << i;
  }
  for (const std::string& key : {std::string(), std::string("Xnode"), std::string("a")}) {
    pieces_ = good;
    pieces_.push_back({key, {1}});
    EXPECT_EQ(RestoreReason(), AbortReason::kDamagedJournal) << key;
  }
}

TEST_F(PiecesTest, OneMessageChangesItsPieceAndTheHead) {
  // Nothing since it was stored.
  EXPECT_EQ(play_.server.Changes().size(), 1u);
  ASSERT_TRUE(play_.Mask());
  play_.store.Keep(play_.server);
  const NodeId& id = cohort_.nodes[0].id;
  const auto message =
      Sent(play_.clients[0]->HandleSurvivorList(play_.server.MessageFor(id).value()));
  ASSERT_TRUE(play_.server.AddConsistencySignature(id, message).ok());
  ASSERT_TRUE(play_.server.AddConsistencySignature(id, message).ok());
  size_t bytes = 0;
  for (const SessionPiece& piece : play_.server.Changes()) bytes += piece.value.size();
  EXPECT_EQ(play_.server.Changes().size(), 2u);
  EXPECT_LT(bytes, message.size() + 100);
}

TEST_F(PiecesTest, WithdrawnKeysAreGoneFromTheStore) {
  Play play(cohort_);
  for (size_t i = 0; i < 2; ++i) {
    play.clients[i].emplace(cohort_.StartClient(i).value());
    ASSERT_TRUE(
        play.server
            .AddAdvertiseKeys(cohort_.nodes[i].identity, Sent(play.clients[i]->CurrentStep()))
            .ok());
  }
  play.store.Keep(play.server);
  const size_t before = play.store.Pieces().size();
  ASSERT_TRUE(play.server.Withdraw(cohort_.nodes[0].id).ok());
  play.RestartServer();
  EXPECT_EQ(play.store.Pieces().size(), before - 1);
  EXPECT_EQ(play.server.Members().size(), 1u);
}

}  // namespace
}  // namespace choir::secagg
