#include "coordinator/store/sqlite_connection.h"

#include <sys/stat.h>

#include <utility>

#include <fmt/format.h>

#include "base/file.h"

namespace choir::coordinator {

SqliteStatement::SqliteStatement(SqliteConnection& connection, std::string_view sql)
    : connection_(connection) {
  Note(sqlite3_prepare_v2(connection.raw(), sql.data(), static_cast<int>(sql.size()), &statement_,
                          nullptr));
}

SqliteStatement::~SqliteStatement() {
  sqlite3_finalize(statement_);
}

void SqliteStatement::Note(int code) {
  if (error_ == SQLITE_OK) error_ = code;
}

SqliteStatement& SqliteStatement::Int(int64_t value) {
  if (error_ == SQLITE_OK) Note(sqlite3_bind_int64(statement_, next_parameter_++, value));
  return *this;
}

SqliteStatement& SqliteStatement::Blob(std::string_view value) {
  // A null pointer would bind NULL; an empty blob is a value.
  const char* data = value.empty() ? "" : value.data();
  if (error_ == SQLITE_OK) {
    Note(sqlite3_bind_blob64(statement_, next_parameter_++, data, value.size(), SQLITE_TRANSIENT));
  }
  return *this;
}

SqliteStatement& SqliteStatement::Blob(std::span<const uint8_t> value) {
  return Blob(AsChars(value));
}

SqliteStatement& SqliteStatement::Text(std::string_view value) {
  const char* data = value.empty() ? "" : value.data();
  if (error_ == SQLITE_OK) {
    Note(sqlite3_bind_text64(statement_, next_parameter_++, data, value.size(), SQLITE_TRANSIENT,
                             SQLITE_UTF8));
  }
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  if (error_ != SQLITE_OK) return connection_.StatusOf(error_);
  next_column_ = 0;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return connection_.StatusOf(code);
}

absl::Status SqliteStatement::Run() {
  return Step().status();
}

int64_t SqliteStatement::NextInt() {
  return sqlite3_column_int64(statement_, next_column_++);
}

std::string SqliteStatement::NextBytes() {
  const void* data = sqlite3_column_blob(statement_, next_column_);
  const int size = sqlite3_column_bytes(statement_, next_column_);
  ++next_column_;
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

absl::StatusOr<Digest> SqliteStatement::NextDigest() {
  const std::string bytes = NextBytes();
  Digest digest{};
  if (bytes.size() != digest.size()) {
    return absl::DataLossError(
        fmt::format("the store holds a digest of {} bytes instead of 32", bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path) {
  sqlite3* db = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(db, path));
  if (code != SQLITE_OK) return connection->StatusOf(code);
  if (chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0) return ErrnoStatus(path);
  sqlite3_extended_result_codes(db, 1);
  // Long enough for a checkpoint or a backup to finish, short enough for a node to try again.
  sqlite3_busy_timeout(db, 5000);
  return connection;
}

SqliteConnection::~SqliteConnection() {
  sqlite3_close_v2(db_);
}

absl::Status SqliteConnection::Execute(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : StatusOf(code);
}

absl::Status SqliteConnection::StatusOf(int code) const {
  const std::string text =
      fmt::format("{}: {}", path_, db_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db_));
  switch (code & 0xff) {
    case SQLITE_OK:
      return absl::OkStatus();
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(text + "; is another coordinator using this folder?");
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(text + "; free some space on its disk");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(text + "; restore it from a backup");
    case SQLITE_CONSTRAINT:
      return absl::AlreadyExistsError(text);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(text);
    case SQLITE_CANTOPEN:
      return absl::NotFoundError(text + "; does the folder exist, and may this user write to it?");
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace choir::coordinator
