#include "coordinator/store/sqlite.h"

#include <iterator>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include <fmt/format.h>

#include "base/status_macros.h"
#include "coordinator/store/sqlite_connection.h"

namespace choir::coordinator {
namespace {

constexpr int64_t kSchemaVersion = 3;

// Byte strings everywhere: SQLite's text is for its own tools, ours is checked above.
constexpr char kSchema[] = R"sql(
CREATE TABLE nodes (
  node_id BLOB PRIMARY KEY, device_key BLOB NOT NULL, display_name TEXT NOT NULL,
  credential BLOB NOT NULL, enrolled_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE invites (
  token_hash BLOB PRIMARY KEY, not_after_ms INTEGER NOT NULL, used_by BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  config BLOB NOT NULL, started_ms INTEGER NOT NULL, round BLOB NOT NULL,
  adapter_version INTEGER NOT NULL, abandoned_in_a_row INTEGER NOT NULL,
  privacy BLOB NOT NULL DEFAULT x''
);
CREATE TABLE sessions (
  session_id BLOB PRIMARY KEY, run_id TEXT NOT NULL, round INTEGER NOT NULL, cohort INTEGER NOT NULL,
  counter INTEGER NOT NULL UNIQUE, open INTEGER NOT NULL,
  result BLOB NOT NULL, abort_reason TEXT NOT NULL
);
CREATE INDEX sessions_by_round ON sessions (run_id, round, cohort);
CREATE TABLE pieces (
  owner BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (owner, key)
);
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
PRAGMA user_version = 3;
)sql";

// kMigrations[i] leads from schema i + 1 to the next.
constexpr const char* kMigrations[] = {
    // From a store without privacy budgets.
    R"sql(
ALTER TABLE runs ADD COLUMN privacy BLOB NOT NULL DEFAULT x'';
PRAGMA user_version = 2;
)sql",
    // From one that wrote an open session whole at each message. What was open then is given up:
    // its
    // secrets go with the column.
    R"sql(
CREATE TABLE pieces (
  owner BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (owner, key)
);
ALTER TABLE sessions DROP COLUMN snapshot;
PRAGMA user_version = 3;
)sql",
};
static_assert(std::size(kMigrations) == kSchemaVersion - 1);

constexpr std::string_view kSessionColumns =
    "session_id, run_id, round, cohort, counter, open, result, abort_reason";

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<SqliteConnection> db) : db_(std::move(db)) {}

  absl::Status Prepare() {
    absl::MutexLock lock(&mu_);
    CHOIR_RETURN_IF_ERROR(
        db_->Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                     "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"));
    CHOIR_ASSIGN_OR_RETURN(const int64_t version, UserVersion());
    if (version > kSchemaVersion || version < 0) {
      return absl::FailedPreconditionError(
          fmt::format("the store has schema {}, this program knows {}: use the version of choir "
                      "that wrote it, or a newer one",
                      version, kSchemaVersion));
    }
    // All steps in one transaction: a store is never found half way.
    return InTransaction([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
      if (version == 0) return db_->Execute(kSchema);
      for (int64_t step = version; step < kSchemaVersion; ++step) {
        CHOIR_RETURN_IF_ERROR(db_->Execute(kMigrations[step - 1]));
      }
      return absl::OkStatus();
    });
  }

  absl::Status Commit(const Batch& batch) override {
    absl::MutexLock lock(&mu_);
    return InTransaction([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
      if (batch.run.has_value()) CHOIR_RETURN_IF_ERROR(Write(*batch.run));
      if (batch.invite_use.has_value()) CHOIR_RETURN_IF_ERROR(Write(*batch.invite_use));
      for (const NodeRecord& r : batch.nodes) CHOIR_RETURN_IF_ERROR(Write(r));
      for (const InviteRecord& r : batch.invites) CHOIR_RETURN_IF_ERROR(Write(r));
      for (const SessionRecord& r : batch.sessions) CHOIR_RETURN_IF_ERROR(Write(r));
      for (const Batch::PieceWrite& w : batch.pieces) CHOIR_RETURN_IF_ERROR(Write(w));
      for (const VersionRecord& r : batch.versions) CHOIR_RETURN_IF_ERROR(Write(r));
      for (const RoundRecord& r : batch.rounds) CHOIR_RETURN_IF_ERROR(Write(r));
      for (const EventRecord& r : batch.events) CHOIR_RETURN_IF_ERROR(Write(r));
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::optional<NodeRecord>> GetNode(std::string_view node_id) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(*db_,
                          "SELECT node_id, device_key, display_name, credential, enrolled_ms, "
                          "last_seen_ms FROM nodes WHERE node_id = ?");
    query.Blob(node_id);
    CHOIR_ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return std::nullopt;
    return ReadNode(query);
  }

  absl::StatusOr<std::vector<NodeRecord>> ListNodes() override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(*db_,
                          "SELECT node_id, device_key, display_name, credential, enrolled_ms, "
                          "last_seen_ms FROM nodes ORDER BY node_id");
    std::vector<NodeRecord> out;
    while (true) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return out;
      out.push_back(ReadNode(query));
    }
  }

  absl::StatusOr<std::optional<InviteRecord>> GetInvite(const Digest& token_hash) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(
        *db_, "SELECT token_hash, not_after_ms, used_by FROM invites WHERE token_hash = ?");
    query.Blob(token_hash);
    CHOIR_ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return std::nullopt;
    InviteRecord record;
    CHOIR_ASSIGN_OR_RETURN(record.token_hash, query.NextDigest());
    record.not_after = query.NextTime();
    record.used_by = query.NextBytes();
    return record;
  }

  absl::StatusOr<std::vector<StoredRun>> ListRuns() override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(
        *db_,
        "SELECT revision, run_id, state, reason, config, started_ms, round, "
        "adapter_version, abandoned_in_a_row, privacy FROM runs ORDER BY started_ms, rowid");
    std::vector<StoredRun> out;
    while (true) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return out;
      StoredRun run;
      run.revision = query.NextU64();
      run.record.run_id = query.NextBytes();
      run.record.state = query.NextBytes();
      run.record.reason = query.NextBytes();
      run.record.config = query.NextBytes();
      run.record.started = query.NextTime();
      run.record.round = query.NextBytes();
      run.record.adapter_version = query.NextU64();
      run.record.abandoned_in_a_row = static_cast<uint32_t>(query.NextInt());
      run.record.privacy = query.NextBytes();
      out.push_back(std::move(run));
    }
  }

  absl::StatusOr<std::optional<SessionRecord>> GetSession(std::string_view session_id) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(
        *db_, fmt::format("SELECT {} FROM sessions WHERE session_id = ?", kSessionColumns));
    query.Blob(session_id);
    CHOIR_ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return std::nullopt;
    return ReadSession(query);
  }

  absl::StatusOr<std::vector<SessionRecord>> ListSessions(std::string_view run_id,
                                                          uint64_t round) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(
        *db_, fmt::format("SELECT {} FROM sessions WHERE run_id = ? AND round = ? ORDER BY cohort",
                          kSessionColumns));
    query.Text(run_id).U64(round);
    std::vector<SessionRecord> out;
    while (true) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return out;
      out.push_back(ReadSession(query));
    }
  }

  absl::StatusOr<std::vector<PieceRecord>> ListPieces(std::string_view owner) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(*db_, "SELECT key, value FROM pieces WHERE owner = ? ORDER BY key");
    query.Blob(owner);
    std::vector<PieceRecord> out;
    while (true) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return out;
      PieceRecord& record = out.emplace_back();
      record.key = query.NextBytes();
      record.value = query.NextBytes();
    }
  }

  absl::StatusOr<uint64_t> LastSessionCounter() override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(*db_, "SELECT COALESCE(MAX(counter), 0) FROM sessions");
    CHOIR_RETURN_IF_ERROR(query.Run());
    return query.NextU64();
  }

  absl::StatusOr<std::vector<VersionRecord>> ListVersions(std::string_view run_id, int64_t after,
                                                          uint32_t limit) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(*db_,
                          "SELECT run_id, version, document FROM versions WHERE run_id = ? AND "
                          "version > ? ORDER BY version LIMIT ?");
    query.Text(run_id).Int(after).Int(limit);
    return ReadVersions(query);
  }

  absl::StatusOr<std::optional<VersionRecord>> LastVersion(std::string_view run_id) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(*db_,
                          "SELECT run_id, version, document FROM versions WHERE run_id = ? "
                          "ORDER BY version DESC LIMIT 1");
    query.Text(run_id);
    CHOIR_ASSIGN_OR_RETURN(std::vector<VersionRecord> found, ReadVersions(query));
    if (found.empty()) return std::nullopt;
    return std::move(found[0]);
  }

  absl::StatusOr<std::vector<RoundRecord>> ListRounds(std::string_view run_id,
                                                      uint32_t limit) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(
        *db_,
        "SELECT run_id, round, status FROM (SELECT run_id, round, status FROM rounds WHERE "
        "run_id = ? ORDER BY round DESC LIMIT ?) ORDER BY round");
    query.Text(run_id).Int(limit);
    std::vector<RoundRecord> out;
    while (true) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return out;
      RoundRecord& record = out.emplace_back();
      record.run_id = query.NextBytes();
      record.round = query.NextU64();
      record.status = query.NextBytes();
    }
  }

  absl::StatusOr<std::vector<EventRecord>> ListEvents(uint32_t limit) override {
    absl::MutexLock lock(&mu_);
    SqliteStatement query(*db_,
                          "SELECT at_ms, run_id, text FROM (SELECT id, at_ms, run_id, text FROM "
                          "events ORDER BY id DESC LIMIT ?) ORDER BY id");
    query.Int(limit);
    std::vector<EventRecord> out;
    while (true) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return out;
      EventRecord& record = out.emplace_back();
      record.at = query.NextTime();
      record.run_id = query.NextBytes();
      record.text = query.NextBytes();
    }
  }

 private:
  absl::StatusOr<int64_t> UserVersion() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    SqliteStatement query(*db_, "PRAGMA user_version");
    CHOIR_RETURN_IF_ERROR(query.Run());
    return query.NextInt();
  }

  template <typename Body>
  absl::Status InTransaction(Body body) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    CHOIR_RETURN_IF_ERROR(db_->Execute("BEGIN IMMEDIATE"));
    absl::Status status = body();
    if (status.ok()) status = db_->Execute("COMMIT");
    // After some errors (no space, I/O) SQLite has rolled back by itself.
    if (!status.ok() && sqlite3_get_autocommit(db_->raw()) == 0) {
      absl::Status undone = db_->Execute("ROLLBACK");
      if (!undone.ok()) return undone;
    }
    return status;
  }

  absl::Status Write(const Batch::RunWrite& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const RunRecord& r = write.record;
    if (write.expected_revision == 0) {
      SqliteStatement insert(*db_, "INSERT INTO runs VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)");
      return insert.Text(r.run_id)
          .Text(r.state)
          .Text(r.reason)
          .Blob(r.config)
          .Time(r.started)
          .Blob(r.round)
          .U64(r.adapter_version)
          .Int(r.abandoned_in_a_row)
          .Blob(r.privacy)
          .Run();
    }
    SqliteStatement update(
        *db_,
        "UPDATE runs SET revision = revision + 1, state = ?, reason = ?, config = ?, "
        "started_ms = ?, round = ?, adapter_version = ?, abandoned_in_a_row = ?, "
        "privacy = ? "
        "WHERE run_id = ? AND revision = ?");
    CHOIR_RETURN_IF_ERROR(update.Text(r.state)
                              .Text(r.reason)
                              .Blob(r.config)
                              .Time(r.started)
                              .Blob(r.round)
                              .U64(r.adapter_version)
                              .Int(r.abandoned_in_a_row)
                              .Blob(r.privacy)
                              .Text(r.run_id)
                              .U64(write.expected_revision)
                              .Run());
    if (db_->Changes() == 1) return absl::OkStatus();
    return absl::AbortedError(
        fmt::format("run {} is no longer at revision {}: another coordinator moved it", r.run_id,
                    write.expected_revision));
  }

  absl::Status Write(const Batch::InviteUse& use) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    SqliteStatement query(*db_, "SELECT used_by FROM invites WHERE token_hash = ?");
    query.Blob(use.token_hash);
    CHOIR_ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return absl::NotFoundError("there is no such invite");
    const std::string used_by = query.NextBytes();
    if (used_by == use.node_id) return absl::OkStatus();
    if (!used_by.empty()) return absl::PermissionDeniedError("the invite has been used");
    SqliteStatement update(*db_, "UPDATE invites SET used_by = ? WHERE token_hash = ?");
    return update.Blob(use.node_id).Blob(use.token_hash).Run();
  }

  absl::Status Write(const NodeRecord& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    SqliteStatement insert(*db_, "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?, ?)");
    return insert.Blob(r.node_id)
        .Blob(r.device_key)
        .Text(r.display_name)
        .Blob(r.credential)
        .Time(r.enrolled)
        .Time(r.last_seen)
        .Run();
  }

  absl::Status Write(const InviteRecord& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    SqliteStatement insert(*db_, "INSERT INTO invites VALUES (?, ?, ?)");
    return insert.Blob(r.token_hash).Time(r.not_after).Blob(r.used_by).Run();
  }

  absl::Status Write(const SessionRecord& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    // Not OR REPLACE: that would delete another session with the same counter.
    SqliteStatement insert(
        *db_,
        fmt::format("INSERT INTO sessions ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT "
                    "(session_id) DO UPDATE SET open = excluded.open, result = excluded.result, "
                    "abort_reason = excluded.abort_reason",
                    kSessionColumns));
    return insert.Blob(r.session_id)
        .Text(r.run_id)
        .U64(r.round)
        .Int(r.cohort)
        .U64(r.counter)
        .Int(r.open ? 1 : 0)
        .Blob(r.result)
        .Text(r.abort_reason)
        .Run();
  }

  absl::Status Write(const Batch::PieceWrite& w) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (w.afresh) {
      SqliteStatement clear(*db_, "DELETE FROM pieces WHERE owner = ?");
      CHOIR_RETURN_IF_ERROR(clear.Blob(w.owner).Run());
    }
    for (const PieceRecord& piece : w.pieces) {
      if (piece.value.empty()) {
        SqliteStatement remove(*db_, "DELETE FROM pieces WHERE owner = ? AND key = ?");
        CHOIR_RETURN_IF_ERROR(remove.Blob(w.owner).Blob(piece.key).Run());
        continue;
      }
      SqliteStatement insert(*db_,
                             "INSERT INTO pieces (owner, key, value) VALUES (?, ?, ?) ON CONFLICT "
                             "(owner, key) DO UPDATE SET value = excluded.value");
      CHOIR_RETURN_IF_ERROR(insert.Blob(w.owner).Blob(piece.key).Blob(piece.value).Run());
    }
    return absl::OkStatus();
  }

  absl::Status Write(const VersionRecord& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    SqliteStatement insert(*db_, "INSERT INTO versions VALUES (?, ?, ?)");
    CHOIR_RETURN_IF_ERROR(insert.Text(r.run_id).U64(r.version).Blob(r.document).Run());
    for (size_t i = 0; i < r.results.size(); ++i) {
      SqliteStatement result(*db_, "INSERT INTO results VALUES (?, ?, ?, ?)");
      CHOIR_RETURN_IF_ERROR(result.Text(r.run_id).U64(r.version).U64(i).Blob(r.results[i]).Run());
    }
    return absl::OkStatus();
  }

  absl::Status Write(const RoundRecord& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    SqliteStatement insert(*db_, "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?)");
    return insert.Text(r.run_id).U64(r.round).Blob(r.status).Run();
  }

  absl::Status Write(const EventRecord& r) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    SqliteStatement insert(*db_, "INSERT INTO events (at_ms, run_id, text) VALUES (?, ?, ?)");
    return insert.Time(r.at).Text(r.run_id).Text(r.text).Run();
  }

  static NodeRecord ReadNode(SqliteStatement& row) {
    NodeRecord record;
    record.node_id = row.NextBytes();
    record.device_key = row.NextBytes();
    record.display_name = row.NextBytes();
    record.credential = row.NextBytes();
    record.enrolled = row.NextTime();
    record.last_seen = row.NextTime();
    return record;
  }

  static SessionRecord ReadSession(SqliteStatement& row) {
    SessionRecord record;
    record.session_id = row.NextBytes();
    record.run_id = row.NextBytes();
    record.round = row.NextU64();
    record.cohort = static_cast<uint32_t>(row.NextInt());
    record.counter = row.NextU64();
    record.open = row.NextInt() != 0;
    record.result = row.NextBytes();
    record.abort_reason = row.NextBytes();
    return record;
  }

  absl::StatusOr<std::vector<VersionRecord>> ReadVersions(SqliteStatement& query)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<VersionRecord> out;
    while (true) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return out;
      VersionRecord record;
      record.run_id = query.NextBytes();
      record.version = query.NextU64();
      record.document = query.NextBytes();
      SqliteStatement results(
          *db_, "SELECT result FROM results WHERE run_id = ? AND version = ? ORDER BY position");
      results.Text(record.run_id).U64(record.version);
      while (true) {
        CHOIR_ASSIGN_OR_RETURN(const bool another, results.Step());
        if (!another) break;
        record.results.push_back(results.NextBytes());
      }
      out.push_back(std::move(record));
    }
  }

  absl::Mutex mu_;
  std::unique_ptr<SqliteConnection> db_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<SqliteConnection> connection,
                         SqliteConnection::Open(path));
  auto store = std::make_unique<SqliteStore>(std::move(connection));
  CHOIR_RETURN_IF_ERROR(store->Prepare());
  return store;
}

}  // namespace choir::coordinator
