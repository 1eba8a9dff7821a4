#include "node/task/work_folder.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/status_macros.h"

namespace choir::node {
namespace {

constexpr uint64_t kMaxTaskBytes = uint64_t{4} << 20;
constexpr uint64_t kMaxJournalBytes = uint64_t{64} << 20;

std::string TaskPath(const std::string& path) {
  return path + "/task.pb";
}
std::string JournalPath(const std::string& path) {
  return path + "/session.journal";
}

bool Exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

}  // namespace

absl::Status WorkFolder::Begin(const v1::CheckInResponse::Task& offer) const {
  if (Exists(TaskPath(path_))) return absl::FailedPreconditionError("there is work in hand");
  // What an interrupted Finish left behind.
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  CHOIR_RETURN_IF_ERROR(MakeDirectories(path_, 0700));
  return AtomicWriteSecretFile(TaskPath(path_), offer.SerializeAsString());
}

absl::StatusOr<std::optional<v1::CheckInResponse::Task>> WorkFolder::Load() const {
  const absl::StatusOr<std::string> bytes = ReadFile(TaskPath(path_), kMaxTaskBytes);
  if (absl::IsNotFound(bytes.status())) return std::nullopt;
  if (!bytes.ok()) return bytes.status();
  v1::CheckInResponse::Task offer;
  if (!offer.ParseFromString(*bytes)) {
    return absl::DataLossError(fmt::format("{} is damaged", TaskPath(path_)));
  }
  return offer;
}

bool WorkFolder::HasAdapter() const {
  return Exists(AdapterPath());
}

absl::Status WorkFolder::SaveJournal(std::span<const uint8_t> journal) const {
  return AtomicWriteSecretFile(JournalPath(path_), AsChars(journal));
}

absl::StatusOr<std::optional<std::vector<uint8_t>>> WorkFolder::LoadJournal() const {
  absl::StatusOr<std::string> bytes = ReadFile(JournalPath(path_), kMaxJournalBytes);
  if (absl::IsNotFound(bytes.status())) return std::nullopt;
  if (!bytes.ok()) return bytes.status();
  std::vector<uint8_t> journal(bytes->begin(), bytes->end());
  WipeBytes({reinterpret_cast<uint8_t*>(bytes->data()), bytes->size()});
  return journal;
}

absl::Status WorkFolder::DropJournal() const {
  if (::unlink(JournalPath(path_).c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(fmt::format("cannot remove {}", JournalPath(path_)));
  }
  return SyncDirectory(path_);
}

absl::Status WorkFolder::Finish() const {
  // Without task.pb there is no work, whatever else a crash leaves behind.
  if (::unlink(TaskPath(path_).c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(fmt::format("cannot remove {}", TaskPath(path_)));
  }
  CHOIR_RETURN_IF_ERROR(SyncDirectory(path_));
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error)
    return absl::UnavailableError(fmt::format("cannot remove {}: {}", path_, error.message()));
  return absl::OkStatus();
}

}  // namespace choir::node
