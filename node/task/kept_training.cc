#include "node/task/kept_training.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/sketch.h"
#include "node/worker/job.h"

namespace choir::node {
namespace {

constexpr uint64_t kMaxAdapterBytes = uint64_t{4} << 30;

std::string StartFile(const std::string& folder) {
  return folder + "/started-from";
}

}  // namespace

KeptTraining::KeptTraining(const std::string& folder, const std::string& run_id,
                           const Digest& started_from)
    : folder_(fmt::format("{}/{}/kept", folder, run_id)),
      started_from_(DigestToHex(started_from)) {}

absl::Status KeptTraining::Drop() const {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("cannot remove {}: {}", folder_, error.message()));
}

absl::Status KeptTraining::Keep(const std::string& job_folder) const {
  CHOIR_ASSIGN_OR_RETURN(const JobResult result, ReadJobResult(job_folder));
  CHOIR_ASSIGN_OR_RETURN(const std::string trained,
                         ReadFile(TrainedAdapterPath(job_folder), kMaxAdapterBytes));
  CHOIR_RETURN_IF_ERROR(Drop());
  CHOIR_RETURN_IF_ERROR(MakeDirectories(folder_, 0700));
  CHOIR_RETURN_IF_ERROR(AtomicWriteSecretFile(TrainedAdapterPath(folder_), trained));
  CHOIR_RETURN_IF_ERROR(AtomicWriteSecretFile(StartFile(folder_), started_from_));
  // Last: what has a result is whole.
  return WriteJobResult(folder_, result, {});
}

absl::StatusOr<bool> KeptTraining::Reuse(const std::string& start_path,
                                         const std::string& basis_path,
                                         const std::string& job_folder) const {
  const absl::StatusOr<JobResult> result = ReadJobResult(folder_);
  if (absl::IsNotFound(result.status())) return false;
  if (!result.ok()) return result.status();
  CHOIR_ASSIGN_OR_RETURN(const std::string started_from,
                         ReadFile(StartFile(folder_), 2 * sizeof(Digest)));
  if (started_from != started_from_) return false;
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter start, engine::ReadGgufAdapter(start_path));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter basis, engine::ReadGgufAdapter(basis_path));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter trained,
                         engine::ReadGgufAdapter(TrainedAdapterPath(folder_)));
  if (!engine::SameShape(start, trained)) {
    return absl::DataLossError(fmt::format("{} is not what it says: remove it", folder_));
  }
  CHOIR_RETURN_IF_ERROR(MakeDirectories(job_folder, 0700));
  CHOIR_RETURN_IF_ERROR(
      WriteJobResult(job_folder, *result, engine::RightSketchDelta(trained, start, basis)));
  return true;
}

}  // namespace choir::node
