// `choir run start`: checks a run file, sends what the coordinator lacks, and starts the run.

#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/operator_session.h"
#include "cli/run_file.h"
#include "cli/run_launch.h"
#include "cli/run_view.h"
#include "cli/run_watching.h"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxRunFileBytes = 1 << 20;

struct Options {
  OperatorOptions connection;
  std::string file;
  bool wait = false;
};

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
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  CHOIR_ASSIGN_OR_RETURN(const v1::RunStatus status, LaunchRun(session, *file, environment));
  const std::string& run_id = status.run_id();
  SayWhatItCosts(status.config(), environment.output);
  if (options.wait) return FollowRun(session, run_id, environment);
  environment.output.Json(RunToJson(status));
  environment.output.Line(fmt::format("Run {} has started: `choir run watch {}`", run_id, run_id));
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
