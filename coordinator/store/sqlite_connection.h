#ifndef CHOIR_COORDINATOR_STORE_SQLITE_CONNECTION_H_
#define CHOIR_COORDINATOR_STORE_SQLITE_CONNECTION_H_

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/sha256.h"

namespace choir::coordinator {

class SqliteConnection;

// One run of a prepared statement. Parameters are bound in order; the first error is kept and comes
// out of Step(). Must not outlive its connection.
class SqliteStatement {
 public:
  SqliteStatement(SqliteConnection& connection, std::string_view sql);
  ~SqliteStatement();
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  SqliteStatement& Int(int64_t value);
  SqliteStatement& U64(uint64_t value) { return Int(static_cast<int64_t>(value)); }
  SqliteStatement& Time(absl::Time value) { return Int(absl::ToUnixMillis(value)); }
  SqliteStatement& Blob(std::string_view value);
  SqliteStatement& Blob(std::span<const uint8_t> value);
  SqliteStatement& Text(std::string_view value);

  // True: a row is there. False: no (further) row.
  absl::StatusOr<bool> Step();
  // For a statement that answers nothing.
  absl::Status Run();

  // Columns of the row, read from left to right.
  int64_t NextInt();
  uint64_t NextU64() { return static_cast<uint64_t>(NextInt()); }
  absl::Time NextTime() { return absl::FromUnixMillis(NextInt()); }
  std::string NextBytes();
  absl::StatusOr<Digest> NextDigest();

 private:
  void Note(int code);
  SqliteConnection& connection_;
  sqlite3_stmt* statement_ = nullptr;
  int error_ = SQLITE_OK;
  int next_parameter_ = 1;
  int next_column_ = 0;
};

// An open database file. Not thread-safe.
class SqliteConnection {
 public:
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::string& path);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Statements without parameters and answers, separated by semicolons.
  absl::Status Execute(const char* sql);
  // Rows that the last statement changed.
  [[nodiscard]] int Changes() const { return sqlite3_changes(db_); }
  // What an SQLite result code means to us; with the file's name.
  [[nodiscard]] absl::Status StatusOf(int code) const;
  [[nodiscard]] sqlite3* raw() const { return db_; }

 private:
  SqliteConnection(sqlite3* db, std::string path) : db_(db), path_(std::move(path)) {}
  sqlite3* db_;
  std::string path_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STORE_SQLITE_CONNECTION_H_
