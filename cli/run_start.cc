// `choir run start`: checks a run file, sends what the coordinator lacks, and starts the run.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/operator_session.h"
#include "cli/progress.h"
#include "cli/run_file.h"
#include "cli/run_view.h"
#include "cli/run_watching.h"
#include "engine/lora/adapter.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/peft_adapter.h"
#include "engine/model/model.h"
#include "engine/model/peft_base.h"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxRunFileBytes = 1 << 20;

struct Options {
  OperatorOptions connection;
  std::string file;
  bool wait = false;
};

engine::LoraConfig LoraConfigOf(const v1::LoraSpec& spec) {
  engine::LoraConfig config;
  config.rank = static_cast<int>(spec.rank());
  config.alpha = spec.alpha();
  config.rslora = spec.rslora();
  config.modules = {};
  for (size_t i = 0; i < engine::kLoraModuleNames.size(); ++i) {
    for (const std::string& module : spec.modules()) {
      if (module == engine::kLoraModuleNames[i]) {
        config.modules.Insert(static_cast<engine::LoraModule>(i));
      }
    }
  }
  return config;
}

// The adapter that the run starts from: the operator's own, or a fresh one.
absl::StatusOr<engine::Adapter> InitialAdapter(const RunFile& file, const engine::Model& model,
                                               const Digest& model_digest) {
  const std::vector<engine::LoraTarget> targets = model.LoraTargets();
  if (!file.initial_adapter_path.empty()) {
    absl::StatusOr<engine::Adapter> adapter =
        engine::ReadAdapter(file.initial_adapter_path, engine::PeftBaseOf(model));
    const absl::Status fits =
        adapter.ok() ? engine::CheckAdapterFits(*adapter, targets) : adapter.status();
    if (!fits.ok()) return BadInput("initial adapter", file.initial_adapter_path, fits);
    return adapter;
  }
  CHOIR_ASSIGN_OR_RETURN(
      engine::Adapter adapter,
      engine::InitAdapter(LoraConfigOf(file.config.lora()), targets, model.spec().architecture,
                          file.config.training().seed()));
  adapter.base_model_sha256 = DigestToHex(model_digest);
  return adapter;
}

// Sends a file unless the coordinator has it.
absl::Status Send(const OperatorSession& session, const std::string& path, const Digest& digest,
                  const char* label, Environment& environment) {
  std::optional<ProgressBar> bar;
  return session.UploadFile(path, digest, [&](uint64_t done, uint64_t total) {
    if (!bar.has_value()) {
      bar.emplace(environment.output, environment.clock, label, static_cast<int64_t>(total));
    }
    bar->Update(static_cast<int64_t>(done),
                fmt::format("{} of {}", HumaneBytes(done), HumaneBytes(total)));
  });
}

absl::Status SendAdapter(const OperatorSession& session, const std::string& bytes,
                         const Digest& digest, Environment& environment) {
  const std::string path = (std::filesystem::temp_directory_path() /
                            fmt::format("choir-adapter-{}.gguf", DigestToHex(digest).substr(0, 16)))
                               .string();
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(path, bytes, 0600));
  const absl::Status status = Send(session, path, digest, "adapter", environment);
  std::filesystem::remove(path);
  return status;
}

void SayWhatItCosts(const v1::RunConfig& config, Output& output) {
  const auto& aggregation = config.aggregation();
  const uint64_t upload = config.num_values() * aggregation.ring_bits() / 8;
  output.Note(
      fmt::format("{} rounds of {}; each node sends about {} a round, masked; cohorts of {} to {}",
                  config.pacing().rounds(), aggregation.strategy(), HumaneBytes(upload),
                  aggregation.min_cohort(), aggregation.max_cohort()));
}

absl::Status Run(const Options& options, Environment& environment) {
  const absl::StatusOr<std::string> text = ReadFile(options.file, kMaxRunFileBytes);
  if (!text.ok()) return BadInput("run file", options.file, text.status());
  absl::StatusOr<RunFile> file = ParseRunFile(*text, options.file);
  if (!file.ok()) return BadInput("run file", options.file, file.status());
  absl::StatusOr<engine::Model> model = engine::Model::Open(file->base_model_path);
  if (!model.ok()) return BadInput("base model", file->base_model_path, model.status());
  const Digest model_digest = model->Sha256();
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter,
                         InitialAdapter(*file, *model, model_digest));
  CHOIR_ASSIGN_OR_RETURN(const std::string adapter_bytes, engine::SerializeGgufAdapter(adapter));
  const Digest adapter_digest = Sha256Of(std::string_view(adapter_bytes));

  v1::StartRunRequest request;
  v1::RunConfig& config = *request.mutable_config();
  config = file->config;
  config.set_base_model_digest(std::string(AsChars(model_digest)));
  config.set_base_model_bytes(std::filesystem::file_size(file->base_model_path));
  config.set_architecture(model->spec().architecture);
  config.set_initial_adapter_digest(std::string(AsChars(adapter_digest)));
  config.set_num_values(adapter.ParameterCount());
  config.set_not_after_unix_s(absl::ToUnixSeconds(environment.clock.Now()) +
                              file->valid_days * 86400);

  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session, OperatorSession::Open(options.connection));
  CHOIR_RETURN_IF_ERROR(
      Send(session, file->base_model_path, model_digest, "base model", environment));
  CHOIR_RETURN_IF_ERROR(SendAdapter(session, adapter_bytes, adapter_digest, environment));
  CHOIR_ASSIGN_OR_RETURN(const v1::RunStatus status,
                         session.Call(&v1::OperatorService::Stub::StartRun, request));
  SayWhatItCosts(status.config(), environment.output);
  if (options.wait) return FollowRun(session, config.run_id(), environment);
  environment.output.Json(RunToJson(status));
  environment.output.Line(
      fmt::format("Run {} has started: `choir run watch {}`", config.run_id(), config.run_id()));
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddOperatorOptions(app, options->connection);
  app.add_option("file", options->file, "The run, in TOML (configs/run.toml has every setting)")
      ->required()
      ->type_name("FILE.toml");
  app.add_flag("--wait", options->wait, "Follow the run to its end; fails if it fails");
  app.footer(
      "Starting the same file again is harmless; a changed file needs another name.\n\n"
      "Examples:\n"
      "  choir run start shakespeare.toml\n"
      "  choir run start shakespeare.toml --wait --json\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kRunStartCommand = {"run start", "Start a run", &Declare};

}  // namespace choir::cli
