// Databases of older releases, made here from the SQL that those releases made them with, open and
// show all that was in them.
#include <sqlite3.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/store/sqlite.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kThisSchema = 3;

// The tables that have been the same since the first release.
constexpr char kSinceVersion1[] = R"sql(
CREATE TABLE nodes (
  node_id BLOB PRIMARY KEY, device_key BLOB NOT NULL, display_name TEXT NOT NULL,
  credential BLOB NOT NULL, enrolled_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE invites (
  token_hash BLOB PRIMARY KEY, not_after_ms INTEGER NOT NULL, used_by BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions (
  session_id BLOB PRIMARY KEY, run_id TEXT NOT NULL, round INTEGER NOT NULL, cohort INTEGER NOT NULL,
  counter INTEGER NOT NULL UNIQUE, open INTEGER NOT NULL, snapshot BLOB NOT NULL,
  result BLOB NOT NULL, abort_reason TEXT NOT NULL
);
CREATE INDEX sessions_by_round ON sessions (run_id, round, cohort);
CREATE TABLE versions (
  run_id TEXT NOT NULL, version INTEGER NOT NULL, document BLOB NOT NULL,
  PRIMARY KEY (run_id, version)
) WITHOUT ROWID;
CREATE TABLE results (
  run_id TEXT NOT NULL, version INTEGER NOT NULL, position INTEGER NOT NULL, result BLOB NOT NULL,
  PRIMARY KEY (run_id, version, position)
) WITHOUT ROWID;
CREATE TABLE rounds (
  run_id TEXT NOT NULL, round INTEGER NOT NULL, status BLOB NOT NULL,
  PRIMARY KEY (run_id, round)
) WITHOUT ROWID;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, run_id TEXT NOT NULL, text TEXT NOT NULL
);
INSERT INTO nodes VALUES (x'6e31', x'6b31', 'laptop', x'c1', 1800000000000, 1800000000001);
INSERT INTO invites VALUES (zeroblob(32), 1800000000000, x'6e31');
INSERT INTO sessions VALUES (x'7331', 'demo', 2, 0, 41, 0, x'', x'aa', '');
INSERT INTO sessions VALUES (x'7332', 'demo', 3, 0, 42, 1, x'5ec4e7', x'', '');
INSERT INTO versions VALUES ('demo', 0, x'd0');
INSERT INTO versions VALUES ('demo', 1, x'd1');
INSERT INTO results VALUES ('demo', 1, 0, x'aa');
INSERT INTO rounds VALUES ('demo', 2, x'52');
INSERT INTO events VALUES (1, 1800000000000, 'demo', 'run_started run=demo');
)sql";

constexpr char kRunsOfVersion1[] = R"sql(
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  config BLOB NOT NULL, started_ms INTEGER NOT NULL, round BLOB NOT NULL,
  adapter_version INTEGER NOT NULL, abandoned_in_a_row INTEGER NOT NULL
);
INSERT INTO runs VALUES ('demo', 9, 'running', '', x'cf', 1800000000000, x'12', 1, 2);
PRAGMA user_version = 1;
)sql";

constexpr char kRunsOfVersion2[] = R"sql(
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  config BLOB NOT NULL, started_ms INTEGER NOT NULL, round BLOB NOT NULL,
  adapter_version INTEGER NOT NULL, abandoned_in_a_row INTEGER NOT NULL,
  privacy BLOB NOT NULL DEFAULT x''
);
INSERT INTO runs VALUES ('demo', 9, 'running', '', x'cf', 1800000000000, x'12', 1, 2, x'e5');
PRAGMA user_version = 2;
)sql";

struct OldRelease {
  int version;
  const char* runs;
  const char* privacy;
};
constexpr OldRelease kReleases[] = {{1, kRunsOfVersion1, ""}, {2, kRunsOfVersion2, "\xe5"}};

class MigrationTest : public testing::TestWithParam<OldRelease> {
 protected:
  void Execute(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(error);
    sqlite3_close(db);
  }
  int64_t Ask(const std::string& sql) {
    sqlite3* db = nullptr;
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr), SQLITE_OK) << sql;
    const int64_t value =
        sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
  }

  TempDir dir_;
  const std::string path_ = dir_.path() + "/choir.db";
};

TEST_P(MigrationTest, EverythingIsThereAfterIt) {
  Execute(kSinceVersion1);
  Execute(GetParam().runs);
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  const RunRecord run{"demo", "running", "", "\xcf", now, "\x12", 1, 2, GetParam().privacy};
  // Twice: the second time there is nothing to do.
  for (int opened = 0; opened < 2; ++opened) {
    auto store = OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_THAT((*store)->ListRuns().value(), ElementsAre(StoredRun{run, 9}));
    EXPECT_THAT(
        (*store)->ListNodes().value(),
        ElementsAre(NodeRecord{"n1", "k1", "laptop", "\xc1", now, now + absl::Milliseconds(1)}));
    EXPECT_EQ((*store)->GetInvite(Digest{}).value(), (InviteRecord{Digest{}, now, "n1"}));
    EXPECT_THAT((*store)->ListSessions("demo", 2).value(),
                ElementsAre(SessionRecord{"s1", "demo", 2, 0, 41, false, "\xaa", ""}));
    EXPECT_THAT((*store)->ListSessions("demo", 3).value(),
                ElementsAre(SessionRecord{"s2", "demo", 3, 0, 42, true, "", ""}));
    EXPECT_EQ((*store)->LastSessionCounter().value(), 42u);
    EXPECT_THAT((*store)->ListVersions("demo", -1, 10).value(),
                ElementsAre(VersionRecord{"demo", 0, "\xd0", {}},
                            VersionRecord{"demo", 1, "\xd1", {"\xaa"}}));
    EXPECT_THAT((*store)->ListRounds("demo", 10).value(), ElementsAre(RoundRecord{"demo", 2, "R"}));
    EXPECT_THAT((*store)->ListEvents(10).value(),
                ElementsAre(EventRecord{now, "demo", "run_started run=demo"}));
    EXPECT_THAT((*store)->ListPieces("session:s2").value(), IsEmpty());
  }
  EXPECT_EQ(Ask("PRAGMA user_version"), kThisSchema);
}

TEST_P(MigrationTest, WhatFollowsCanBeWritten) {
  Execute(kSinceVersion1);
  Execute(GetParam().runs);
  auto store = OpenSqliteStore(path_).value();
  Batch batch;
  batch.run = {store->ListRuns()->at(0).record, 9};
  batch.run->record.privacy = "spent";
  batch.sessions = {{"s3", "demo", 3, 1, 43, true, "", ""}};
  batch.pieces = {{"session:s3", false, {{"H", "head"}}}};
  ASSERT_TRUE(store->Commit(batch).ok());
  EXPECT_EQ(store->ListRuns()->at(0).record.privacy, "spent");
  EXPECT_EQ(store->ListPieces("session:s3")->size(), 1u);
}

// A step that fails half way leaves the database as it was: the older program can still open it.
TEST_P(MigrationTest, FailureLeavesTheOldDatabase) {
  Execute(kSinceVersion1);
  Execute(GetParam().runs);
  Execute("CREATE TABLE pieces (something INTEGER)");
  EXPECT_FALSE(OpenSqliteStore(path_).ok());
  EXPECT_EQ(Ask("PRAGMA user_version"), GetParam().version);
  EXPECT_EQ(Ask("SELECT COUNT(snapshot) FROM sessions"), 2);
}

INSTANTIATE_TEST_SUITE_P(Releases, MigrationTest, testing::ValuesIn(kReleases),
                         [](const auto& entry) {
                           return fmt::format("version{}", entry.param.version);
                         });

TEST_F(MigrationTest, NewerDatabaseIsRefusedWithBothNumbers) {
  ASSERT_TRUE(OpenSqliteStore(path_).ok());
  for (const int64_t version : {int64_t{kThisSchema} + 1, int64_t{99}, int64_t{-1}}) {
    Execute(fmt::format("PRAGMA user_version = {}", version));
    const absl::Status status = OpenSqliteStore(path_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(fmt::format("the store has schema {}, this program knows {}", version,
                                      kThisSchema)));
    EXPECT_THAT(std::string(status.message()), HasSubstr("use the version of choir"));
    // Refused before anything was done to it.
    EXPECT_EQ(Ask("PRAGMA user_version"), version);
  }
}

}  // namespace
}  // namespace choir::coordinator
