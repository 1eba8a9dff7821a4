#include "node/task/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace choir::node {
namespace {

constexpr std::string_view kInTheSum = "in the sum";

uint64_t Number(const nlohmann::json& entry, const char* key) {
  const auto it = entry.find(key);
  return it != entry.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
}

std::string Text(const nlohmann::json& entry, const char* key) {
  const auto it = entry.find(key);
  return it != entry.end() && it->is_string() ? it->get<std::string>() : "";
}

// Calls visit(entry) for each whole line.
template <typename Visit>
absl::Status ForEachEntry(const std::string& path, Visit visit) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object()) visit(entry);
  }
  if (file.bad()) return absl::DataLossError(fmt::format("cannot read {}", path));
  return absl::OkStatus();
}

}  // namespace

absl::Status AppendToLedger(const std::string& path, const LedgerEntry& entry) {
  const nlohmann::json line = {
      {"time", absl::FormatTime(absl::RFC3339_sec, entry.time, absl::UTCTimeZone())},
      {"run", entry.run_id},
      {"round", entry.round},
      {"session", entry.session_hex},
      {"masked_bytes", entry.masked_bytes},
      {"outcome", entry.outcome}};
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(fmt::format("cannot open {}", path));
  const off_t size = ::lseek(fd, 0, SEEK_END);
  char last = '\n';
  const bool torn = size > 0 && ::pread(fd, &last, 1, size - 1) == 1 && last != '\n';
  const std::string text = fmt::format("{}{}\n", torn ? "\n" : "", line.dump());
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::fsync(fd) == 0;
  const absl::Status status =
      written ? absl::OkStatus() : ErrnoStatus(fmt::format("cannot write {}", path));
  ::close(fd);
  return status;
}

absl::StatusOr<LedgerTotals> ReadLedgerTotals(const std::string& path) {
  LedgerTotals totals;
  CHOIR_RETURN_IF_ERROR(ForEachEntry(path, [&totals](const nlohmann::json& entry) {
    ++totals.sessions;
    totals.masked_bytes += Number(entry, "masked_bytes");
    if (Text(entry, "outcome") == kInTheSum) ++totals.contributed;
  }));
  return totals;
}

absl::StatusOr<bool> LedgerHasSession(const std::string& path, const std::string& session_hex) {
  bool found = false;
  CHOIR_RETURN_IF_ERROR(ForEachEntry(path, [&](const nlohmann::json& entry) {
    found = found || Text(entry, "session") == session_hex;
  }));
  return found;
}

}  // namespace choir::node
