// The contract of every kind of store, over the table of kinds; then what SQLite alone promises.
#include "coordinator/store/store.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

NodeRecord SomeNode(char fill) {
  return {std::string(32, fill),
          std::string(32, 'k'),
          "laptop of \xc3\xa9mile",
          "credential",
          kNow,
          kNow + absl::Milliseconds(1)};
}
RunRecord SomeRun(const std::string& id) {
  return {id, "running", "", std::string("con\0fig", 7), kNow, "round", 0, 0, "spent"};
}
SessionRecord SomeSession(char fill, uint64_t counter) {
  return {std::string(16, fill), "run", 3, 0, counter, true, "", ""};
}
Batch NewRun(const RunRecord& run) {
  Batch batch;
  batch.run = {run, 0};
  return batch;
}

class StoreContractTest : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    store_.reset();
    auto store = GetParam().open(dir_.path() + "/store");
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  absl::StatusCode Code(const Batch& batch) { return store_->Commit(batch).code(); }
  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_P(StoreContractTest, EmptyStoreAnswersNothing) {
  EXPECT_THAT(store_->ListRuns().value(), IsEmpty());
  EXPECT_THAT(store_->ListNodes().value(), IsEmpty());
  EXPECT_FALSE(store_->GetNode(std::string(32, 'x')).value().has_value());
  EXPECT_FALSE(store_->GetSession("x").value().has_value());
  EXPECT_FALSE(store_->LastVersion("run").value().has_value());
  EXPECT_EQ(store_->LastSessionCounter().value(), 0u);
}

TEST_P(StoreContractTest, WhatWasCommittedIsThereAfterReopening) {
  Batch batch = NewRun(SomeRun("run"));
  batch.nodes = {SomeNode('b'), SomeNode('a')};
  batch.invites = {{Sha256Of("token"), kNow, ""}};
  batch.sessions = {SomeSession('s', 5)};
  batch.versions = {{"run", 0, "document", {}}, {"run", 1, "document 1", {"r0", "r1"}}};
  batch.rounds = {{"run", 1, "status"}};
  batch.events = {{kNow, "run", "round_opened round=1"}};
  ASSERT_TRUE(store_->Commit(batch).ok());
  Reopen();
  EXPECT_THAT(store_->ListRuns().value(), ElementsAre(StoredRun{SomeRun("run"), 1}));
  EXPECT_THAT(store_->ListNodes().value(), ElementsAre(SomeNode('a'), SomeNode('b')));
  EXPECT_EQ(store_->GetNode(std::string(32, 'b')).value(), SomeNode('b'));
  EXPECT_EQ(store_->GetInvite(Sha256Of("token")).value(), batch.invites[0]);
  EXPECT_EQ(store_->GetSession(std::string(16, 's')).value(), SomeSession('s', 5));
  EXPECT_THAT(store_->ListSessions("run", 3).value(), ElementsAre(SomeSession('s', 5)));
  EXPECT_EQ(store_->LastSessionCounter().value(), 5u);
  EXPECT_EQ(store_->ListVersions("run", -1, 10).value(), batch.versions);
  EXPECT_EQ(store_->LastVersion("run").value(), batch.versions[1]);
  EXPECT_EQ(store_->ListRounds("run", 10).value(), batch.rounds);
  EXPECT_EQ(store_->ListEvents(10).value(), batch.events);
}

TEST_P(StoreContractTest, RunMovesOnlyFromTheRevisionItIsAt) {
  ASSERT_TRUE(store_->Commit(NewRun(SomeRun("run"))).ok());
  RunRecord moved = SomeRun("run");
  moved.state = "finished";
  Batch batch;
  batch.run = {moved, 1};
  ASSERT_TRUE(store_->Commit(batch).ok());
  EXPECT_EQ(Code(batch), absl::StatusCode::kAborted);
  EXPECT_THAT(store_->ListRuns().value(), ElementsAre(StoredRun{moved, 2}));
}

TEST_P(StoreContractTest, NewRunMustBeNew) {
  ASSERT_TRUE(store_->Commit(NewRun(SomeRun("run"))).ok());
  EXPECT_EQ(Code(NewRun(SomeRun("run"))), absl::StatusCode::kAlreadyExists);
}

TEST_P(StoreContractTest, RefusedBatchChangesNothing) {
  ASSERT_TRUE(store_->Commit(NewRun(SomeRun("run"))).ok());
  Batch batch;
  batch.nodes = {SomeNode('a')};
  batch.events = {{kNow, "", "event"}};
  batch.run = {SomeRun("run"), 7};
  EXPECT_EQ(Code(batch), absl::StatusCode::kAborted);
  EXPECT_THAT(store_->ListNodes().value(), IsEmpty());
  EXPECT_THAT(store_->ListEvents(10).value(), IsEmpty());
}

TEST_P(StoreContractTest, LateFailureUndoesTheWholeBatch) {
  Batch batch = NewRun(SomeRun("run"));
  batch.versions = {{"run", 1, "a", {"r"}}, {"run", 1, "b", {}}};
  EXPECT_EQ(Code(batch), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(store_->ListRuns().value(), IsEmpty());
  EXPECT_THAT(store_->ListVersions("run", -1, 10).value(), IsEmpty());
}

TEST_P(StoreContractTest, InviteServesOneNodeOnly) {
  Batch make;
  make.invites = {{Sha256Of("token"), kNow, ""}};
  ASSERT_TRUE(store_->Commit(make).ok());
  const auto use = [&](const std::string& token, const std::string& node) {
    Batch batch;
    batch.invite_use = {Sha256Of(token), node};
    return Code(batch);
  };
  EXPECT_EQ(use("other", "n1"), absl::StatusCode::kNotFound);
  EXPECT_EQ(use("token", "n1"), absl::StatusCode::kOk);
  EXPECT_EQ(use("token", "n1"), absl::StatusCode::kOk);
  EXPECT_EQ(use("token", "n2"), absl::StatusCode::kPermissionDenied);
}

TEST_P(StoreContractTest, SessionIsReplacedButItsCounterStaysUnique) {
  Batch batch;
  batch.sessions = {SomeSession('s', 5)};
  ASSERT_TRUE(store_->Commit(batch).ok());
  batch.sessions[0].open = false;
  batch.sessions[0].result = "result";
  ASSERT_TRUE(store_->Commit(batch).ok());
  EXPECT_EQ(store_->GetSession(std::string(16, 's')).value(), batch.sessions[0]);
  batch.sessions = {SomeSession('t', 5)};
  EXPECT_EQ(Code(batch), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(store_->GetSession(std::string(16, 's')).value().has_value());
}

TEST_P(StoreContractTest, PiecesAreAddedReplacedDeletedAndBegunAfresh) {
  const std::string owner("own\0er", 6);
  const auto write = [&](bool afresh, std::vector<PieceRecord> pieces) {
    Batch batch;
    batch.pieces = {{owner, afresh, std::move(pieces)}};
    ASSERT_TRUE(store_->Commit(batch).ok());
    Reopen();
  };
  write(false, {{"b", "1"}, {"a", "2"}, {"c", std::string(1 << 20, 'x')}});
  EXPECT_EQ(store_->ListPieces(owner)->size(), 3u);
  write(false, {{"b", "3"}, {"c", ""}, {"never there", ""}});
  EXPECT_THAT(store_->ListPieces(owner).value(),
              ElementsAre(PieceRecord{"a", "2"}, PieceRecord{"b", "3"}));
  EXPECT_THAT(store_->ListPieces("own").value(), IsEmpty());
  write(true, {{"d", "4"}});
  EXPECT_THAT(store_->ListPieces(owner).value(), ElementsAre(PieceRecord{"d", "4"}));
  write(true, {});
  EXPECT_THAT(store_->ListPieces(owner).value(), IsEmpty());
}

TEST_P(StoreContractTest, ListsKeepOrderAndLimit) {
  Batch batch;
  for (uint64_t i = 0; i < 5; ++i) {
    batch.versions.push_back({"run", i, fmt::format("v{}", i), {}});
    batch.rounds.push_back({"run", i, fmt::format("r{}", i)});
    batch.events.push_back({kNow, "run", fmt::format("e{}", i)});
  }
  ASSERT_TRUE(store_->Commit(batch).ok());
  EXPECT_THAT(store_->ListVersions("run", 1, 2).value(),
              ElementsAre(batch.versions[2], batch.versions[3]));
  EXPECT_THAT(store_->ListRounds("run", 2).value(), ElementsAre(batch.rounds[3], batch.rounds[4]));
  EXPECT_THAT(store_->ListEvents(1).value(), ElementsAre(batch.events[4]));
  EXPECT_THAT(store_->ListVersions("another", -1, 10).value(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Kinds, StoreContractTest, testing::ValuesIn(StoreKinds()),
                         [](const auto& entry) { return std::string(entry.param.name); });

absl::StatusOr<std::unique_ptr<Store>> OpenSqlite(const std::string& path) {
  return StoreKinds()[0].open(path);
}

TEST(SqliteStoreTest, GarbageIsDataLoss) {
  TempDir dir;
  ASSERT_TRUE(AtomicWriteFile(dir.path() + "/db", std::string(8192, 'x')).ok());
  EXPECT_EQ(OpenSqlite(dir.path() + "/db").status().code(), absl::StatusCode::kDataLoss);
}

TEST(SqliteStoreTest, MissingFolderIsNotFound) {
  EXPECT_EQ(OpenSqlite("/nonexistent/db").status().code(), absl::StatusCode::kNotFound);
}

TEST(SqliteStoreTest, FileIsTheOwnersOnly) {
  TempDir dir;
  ASSERT_TRUE(OpenSqlite(dir.path() + "/db").ok());
  struct stat info {};
  ASSERT_EQ(stat((dir.path() + "/db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(SqliteStoreTest, CommitThatDoesNotFitOnTheDiskChangesNothing) {
  TempDir dir;
  auto store = OpenSqlite(dir.path() + "/db").value();
  ASSERT_TRUE(store->Commit(NewRun(SomeRun("run"))).ok());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 256 << 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Batch batch;
  batch.run = {SomeRun("run"), 1};
  batch.run->record.round = std::string(4 << 20, 'r');
  const absl::Status status = store->Commit(batch);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(store->ListRuns().value(), ElementsAre(StoredRun{SomeRun("run"), 1}));
  EXPECT_TRUE(store->Commit(batch).ok());
}

}  // namespace
}  // namespace choir::coordinator
