// `choir run list | show | watch | stop`: the coordinator's runs.

#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/humane.h"
#include "cli/operator_session.h"
#include "cli/run_view.h"
#include "cli/run_watching.h"

namespace choir::cli {
namespace {

struct Options {
  OperatorOptions connection;
  std::string run;
  std::string reason = "stopped by the operator";
};

absl::Status List(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  CHOIR_ASSIGN_OR_RETURN(const v1::ListRunsResponse response,
                         session.Call(&v1::OperatorService::Stub::ListRuns, v1::ListRunsRequest()));
  nlohmann::json list = nlohmann::json::array();
  TextTable table({"RUN", "STATE", "ROUNDS", "STRATEGY", "ADAPTER", "NOW"});
  for (const v1::RunStatus& run : response.runs()) {
    list.push_back(RunToJson(run));
    table.AddRow({run.run_id(), run.state(),
                  fmt::format("{}/{}", run.rounds_published(), run.config().pacing().rounds()),
                  run.config().aggregation().strategy(), fmt::format("v{}", run.adapter_version()),
                  HasEnded(run) ? run.reason() : ActivityLine(run)});
  }
  environment.output.Json(list);
  environment.output.Line(response.runs_size() == 0 ? "No runs yet: `choir run start FILE.toml`"
                                                    : table.Render());
  return absl::OkStatus();
}

void Print(const v1::RunStatus& run, Output& output) {
  output.Line(fmt::format("{}  {}{}", output.Styled(Style::kBold, run.run_id()), run.state(),
                          run.reason().empty() ? "" : ": " + run.reason()));
  const v1::RunConfig& config = run.config();
  output.Line(fmt::format("  base model   {} ({}, {})",
                          HexEncode(AsBytes(config.base_model_digest())).substr(0, 16),
                          config.architecture(), HumaneBytes(config.base_model_bytes())));
  output.Line(fmt::format("  adapter      v{}, {} values, rank {}, alpha {}", run.adapter_version(),
                          HumaneCount(static_cast<int64_t>(config.num_values())),
                          config.lora().rank(), config.lora().alpha()));
  output.Line(fmt::format("  merging      {}, cohorts of {} to {}, {}-bit ring, clip {}",
                          config.aggregation().strategy(), config.aggregation().min_cohort(),
                          config.aggregation().max_cohort(), config.aggregation().ring_bits(),
                          config.aggregation().clip_norm()));
  output.Line(fmt::format("  privacy      {}", PrivacyLine(run)));
  output.Line(fmt::format("  rounds       {} of {} published", run.rounds_published(),
                          config.pacing().rounds()));
  for (const v1::RoundStatus& round : run.rounds()) {
    const bool over = round.phase() == "published" || round.phase() == "abandoned";
    output.Line(
        fmt::format("  round {:>3}    {}", round.round(), over ? RoundLine(round) : round.phase()));
  }
}

absl::Status Show(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  v1::GetRunRequest request;
  request.set_run_id(options.run);
  CHOIR_ASSIGN_OR_RETURN(const v1::RunStatus run,
                         session.Call(&v1::OperatorService::Stub::GetRun, request));
  environment.output.Json(RunToJson(run));
  if (!environment.output.json()) Print(run, environment.output);
  return absl::OkStatus();
}

absl::Status Watch(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  return FollowRun(session, options.run, environment);
}

absl::Status Stop(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  v1::StopRunRequest request;
  request.set_run_id(options.run);
  request.set_reason(options.reason);
  CHOIR_ASSIGN_OR_RETURN(const v1::RunStatus run,
                         session.Call(&v1::OperatorService::Stub::StopRun, request));
  environment.output.Json(RunToJson(run));
  environment.output.Line(fmt::format("Run {} is {}. Its {} published adapters stay.", run.run_id(),
                                      run.state(), run.adapter_version() + 1));
  return absl::OkStatus();
}

using Step = absl::Status (*)(const Options&, Environment&);

Action DeclareFor(CLI::App& app, Step step, bool names_a_run, const char* examples) {
  auto options = std::make_shared<Options>();
  AddOperatorOptions(app, options->connection);
  if (names_a_run) app.add_option("run", options->run, "The run's name")->required();
  app.footer(examples);
  return [options, step](Environment& environment) { return step(*options, environment); };
}

Action DeclareList(CLI::App& app) {
  return DeclareFor(app, &List, false, "Examples:\n  choir run list\n");
}
Action DeclareShow(CLI::App& app) {
  return DeclareFor(app, &Show, true, "Examples:\n  choir run show shakespeare-1 --json\n");
}
Action DeclareWatch(CLI::App& app) {
  return DeclareFor(app, &Watch, true,
                    "Ends with the run, or with Ctrl-C, which leaves the run alone.\n\n"
                    "Examples:\n  choir run watch shakespeare-1\n");
}
Action DeclareStop(CLI::App& app) {
  return DeclareFor(app, &Stop, true, "Examples:\n  choir run stop shakespeare-1\n");
}

}  // namespace

const Command kRunListCommand = {"run list", "All runs", &DeclareList};
const Command kRunShowCommand = {"run show", "One run in full", &DeclareShow};
const Command kRunWatchCommand = {"run watch", "Follow a run live", &DeclareWatch};
const Command kRunStopCommand = {"run stop", "End a run; its adapters stay", &DeclareStop};

}  // namespace choir::cli
