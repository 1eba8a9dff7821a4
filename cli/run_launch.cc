#include "cli/run_launch.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/initial_adapter.h"
#include "cli/progress.h"
#include "engine/lora/adapter.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/model/model.h"
#include "engine/train/dataset.h"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxHeldOutBytes = uint64_t{64} << 20;  // the coordinator's limit

// Sends a file unless the coordinator has it.
absl::Status Send(const OperatorSession& session, const std::string& path, const Digest& digest,
                  const char* label, Environment& environment) {
  std::optional<ProgressBar> bar;
  return session.UploadFile(path, digest, [&](uint64_t done, uint64_t total) {
    if (!bar.has_value()) {
      bar.emplace(environment.output, environment.clock, label, 100);
    }
    bar->Update(static_cast<int64_t>(100 * done / std::max<uint64_t>(total, 1)),
                fmt::format("% of {}", HumaneBytes(total)));
  });
}

absl::Status SendAdapter(const OperatorSession& session, const std::string& bytes,
                         const Digest& digest, Environment& environment) {
  const std::string path = (std::filesystem::temp_directory_path() /
                            fmt::format("choir-adapter-{}.gguf", DigestToHex(digest).substr(0, 16)))
                               .string();
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(path, bytes, 0600));
  absl::Status status = Send(session, path, digest, "adapter", environment);
  std::filesystem::remove(path);
  return status;
}

// The evaluation gate's texts, read once here: what cannot be read would stop every round.
absl::Status SendHeldOut(const OperatorSession& session, const std::string& path,
                         v1::RunConfig& config, Environment& environment) {
  if (path.empty()) return absl::OkStatus();
  const absl::Status readable = engine::ReadExamples(path, {}).status();
  if (!readable.ok()) return BadInput("gate.data", path, readable);
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxHeldOutBytes));
  const Digest digest = Sha256Of(std::string_view(bytes));
  config.mutable_gate()->set_data_digest(std::string(AsChars(digest)));
  return Send(session, path, digest, "held-out", environment);
}

}  // namespace

absl::StatusOr<v1::RunStatus> LaunchRun(const OperatorSession& session, const RunFile& file,
                                        Environment& environment) {
  absl::StatusOr<engine::Model> model = engine::Model::Open(file.base_model_path);
  if (!model.ok()) return BadInput("base model", file.base_model_path, model.status());
  const Digest model_digest = model->Sha256();
  v1::StartRunRequest request;
  v1::RunConfig& config = *request.mutable_config();
  config = file.config;
  CHOIR_ASSIGN_OR_RETURN(
      const engine::Adapter adapter,
      InitialAdapter(file, *model, model_digest, *config.mutable_lora(), environment.output));
  CHOIR_ASSIGN_OR_RETURN(const std::string adapter_bytes, engine::SerializeGgufAdapter(adapter));
  const Digest adapter_digest = Sha256Of(std::string_view(adapter_bytes));

  config.set_base_model_digest(std::string(AsChars(model_digest)));
  config.set_base_model_bytes(std::filesystem::file_size(file.base_model_path));
  config.set_architecture(model->spec().architecture);
  config.set_initial_adapter_digest(std::string(AsChars(adapter_digest)));
  config.set_num_values(adapter.ParameterCount());
  config.set_not_after_unix_s(absl::ToUnixSeconds(environment.clock.Now()) +
                              file.valid_days * 86400);

  CHOIR_RETURN_IF_ERROR(
      Send(session, file.base_model_path, model_digest, "base model", environment));
  CHOIR_RETURN_IF_ERROR(SendHeldOut(session, file.gate_data_path, config, environment));
  CHOIR_RETURN_IF_ERROR(SendAdapter(session, adapter_bytes, adapter_digest, environment));
  return session.Call(&v1::OperatorService::Stub::StartRun, request);
}

}  // namespace choir::cli
