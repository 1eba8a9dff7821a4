// `choir demo`: a whole federation on this machine, from founding to better adapters.

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/demo_data.h"
#include "cli/demo_federation.h"
#include "cli/demo_folder.h"
#include "cli/demo_report.h"
#include "cli/demo_view.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/interrupt.h"
#include "cli/run_launch.h"
#include "cli/run_view.h"

namespace choir::cli {
namespace {

constexpr const char* kRunName = "demo";
constexpr absl::Duration kPoll = absl::Milliseconds(150);
// A node asks again within seconds when a round is over.
constexpr absl::Duration kPullPatience = absl::Seconds(60);
// The shipped model is small and learns fast; a model of somebody's own is treated with more care.
constexpr double kShippedLearningRate = 5e-3;
constexpr double kCarefulLearningRate = 5e-4;
constexpr int64_t kMostContext = 256;

struct Options {
  std::string model;
  std::string data;
  size_t nodes = 0;
  uint32_t rounds = 5;
  uint32_t steps = 20;
  double learning_rate = 0;
  uint32_t rank = 8;
  std::string strategy = "fedavg";
  std::string backend = "cpu";
  std::string keep;
};

// One demo: where it is, and how far it has come.
struct Demo {
  const Options& options;
  Environment& environment;
  std::string folder;
  DemoFederationOptions setup;
  std::string run_toml;
  absl::Time begin;
};

// With --json these go to stderr, where they do not disturb.
void Tell(Demo& demo, std::string_view text) {
  demo.environment.output.Note(text);
}

absl::StatusOr<std::string> RunToml(const Options& options, const DemoFederationOptions& setup) {
  CHOIR_ASSIGN_OR_RETURN(const auto model, OpenModel(setup.model));
  const double rate = options.learning_rate > 0 ? options.learning_rate
                      : options.model.empty()   ? kShippedLearningRate
                                                : kCarefulLearningRate;
  return fmt::format(
      "# The run of `choir demo`; configs/run.toml has every setting.\n"
      "[run]\n"
      "name = \"{}\"\n"
      "base_model = {}\n"
      "rounds = {}\n"
      "\n"
      "[lora]\n"
      "rank = {}\n"
      "alpha = {}\n"
      "\n"
      "[training]\n"
      "steps = {}\n"
      "learning_rate = {}\n"
      "context = {}\n"
      "\n"
      "[aggregation]\n"
      "strategy = \"{}\"\n"
      "min_cohort = {}       # 8 by default; lowered because the demo has few nodes\n"
      "target_cohort = {}\n"
      "\n"
      "[pacing]\n"
      "over_selection = 0   # every node takes part in every round\n"
      "select_wait_s = 60\n"
      "cohort_wait_s = 120\n"
      "stage_wait_s = 60\n",
      kRunName, nlohmann::json(std::filesystem::absolute(setup.model).string()).dump(),
      options.rounds, options.rank, 2 * options.rank, options.steps, rate,
      std::min(model->spec().context_length, kMostContext), options.strategy,
      DemoFederation::kMinCohort, setup.texts.size());
}

absl::Status Prepare(Demo& demo) {
  const Options& options = demo.options;
  CHOIR_ASSIGN_OR_RETURN(demo.setup.programs, FindDemoPrograms());
  std::string shipped;
  if (options.model.empty() || options.data.empty()) {
    CHOIR_ASSIGN_OR_RETURN(shipped, FindShippedDemo());
  }
  demo.setup.model = options.model.empty() ? shipped + "/model.gguf" : options.model;
  demo.setup.backend = options.backend;
  CHOIR_ASSIGN_OR_RETURN(std::vector<DemoTexts> sources,
                         ReadDemoSources(options.data.empty() ? shipped + "/data" : options.data));
  const size_t nodes = options.nodes > 0 ? options.nodes : DemoNodesFor(sources.size());
  CHOIR_ASSIGN_OR_RETURN(demo.setup.texts, DealTexts(std::move(sources), nodes));
  CHOIR_ASSIGN_OR_RETURN(demo.run_toml, RunToml(options, demo.setup));
  return absl::OkStatus();
}

void Introduce(Demo& demo) {
  const Options& options = demo.options;
  size_t name_columns = 0;
  for (const DemoTexts& texts : demo.setup.texts) {
    name_columns = std::max(name_columns, texts.name.size());
  }
  Tell(demo, fmt::format("A federation in {}:", demo.folder));
  Tell(demo, fmt::format("a coordinator and {} nodes, each a process of its own, with mTLS between "
                         "them,\nand every update masked. Each node has texts of its own:",
                         demo.setup.texts.size()));
  for (const DemoTexts& texts : demo.setup.texts) {
    Tell(demo, fmt::format("  {:<{}}  {:>4} records to learn from, {} held out to measure with",
                           texts.name, name_columns, texts.train.size(), texts.held_out.size()));
  }
  Tell(demo,
       fmt::format("The smallest cohort is 8 by default; with so few nodes the demo lowers it "
                   "to {},\nin every node.toml and in the federation's manifest.",
                   DemoFederation::kMinCohort));
  Tell(demo, fmt::format("{} rounds of {}; {} steps a node and round; LoRA rank {}.\n",
                         options.rounds, options.strategy, options.steps, options.rank));
}

DemoView ViewOf(const Demo& demo, const DemoFederation& federation, const v1::RunStatus& run) {
  DemoView view;
  view.activity = ActivityLine(run);
  view.rounds_published = run.rounds_published();
  view.rounds = demo.options.rounds;
  view.elapsed = demo.environment.clock.Now() - demo.begin;
  for (const DemoNodeStatus& status : federation.statuses()) view.nodes.push_back(status.view);
  return view;
}

// Says each round's end once. ABORTED for a round that failed: in a demo none should.
absl::Status TellRounds(const v1::RunStatus& run, uint64_t& told, DemoScreen& screen) {
  for (const v1::RoundStatus& round : run.rounds()) {
    const bool published = round.phase() == "published";
    if (round.round() <= told || (!published && round.phase() != "abandoned")) continue;
    told = round.round();
    if (!published) {
      return absl::AbortedError(fmt::format("round {} {}", round.round(), RoundLine(round)));
    }
    screen.Say(DemoRoundLine(round));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::RunStatus> FollowRounds(Demo& demo, DemoFederation& federation) {
  DemoScreen screen(demo.environment.output, demo.environment.clock);
  v1::GetRunRequest request;
  request.set_run_id(kRunName);
  for (uint64_t told = 0;;) {
    CHOIR_RETURN_IF_ERROR(federation.CheckRunning());
    CHOIR_ASSIGN_OR_RETURN(const v1::RunStatus run,
                           federation.session().Call(&v1::OperatorService::Stub::GetRun, request));
    federation.RefreshStatus();
    CHOIR_RETURN_IF_ERROR(TellRounds(run, told, screen));
    if (HasEnded(run)) {
      CHOIR_RETURN_IF_ERROR(EndOf(run));
      return run;
    }
    screen.Show(ViewOf(demo, federation, run));
    if (InterruptRequested())
      return absl::CancelledError("the demo and all its programs are stopped");
    absl::SleepFor(kPoll);
  }
}

// Until every node has the run's last adapter version.
absl::Status AwaitPulls(Demo& demo, DemoFederation& federation, uint64_t version) {
  const absl::Time deadline = demo.environment.clock.Now() + kPullPatience;
  for (;;) {
    CHOIR_RETURN_IF_ERROR(federation.CheckRunning());
    federation.RefreshStatus();
    const auto& statuses = federation.statuses();
    const auto late = std::find_if(
        statuses.begin(), statuses.end(),
        [version](const DemoNodeStatus& status) { return status.adapter_version < version; });
    if (late == statuses.end()) return absl::OkStatus();
    if (demo.environment.clock.Now() > deadline) {
      return absl::DeadlineExceededError(fmt::format(
          "{} still has adapter version {}, not {}{}", late->view.name, late->adapter_version,
          version, late->last_problem.empty() ? "" : ": " + late->last_problem));
    }
    if (InterruptRequested())
      return absl::CancelledError("the demo and all its programs are stopped");
    absl::SleepFor(kPoll);
  }
}

// Starts the run, and stores the adapter that it starts from.
absl::Status StartRun(Demo& demo, const DemoFederation& federation) {
  const std::string path = demo.folder + "/run.toml";
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(path, demo.run_toml));
  const absl::StatusOr<RunFile> file = ParseRunFile(demo.run_toml, path);
  if (!file.ok()) return file.status();
  Output silent = demo.environment.output;  // upload bars would only flicker
  silent.set_quiet(true);
  Environment environment{silent, demo.environment.clock};
  CHOIR_ASSIGN_OR_RETURN(const v1::RunStatus run,
                         LaunchRun(federation.session(), *file, environment));
  Digest digest;
  const std::string& initial = run.config().initial_adapter_digest();
  if (initial.size() != digest.size()) return absl::DataLossError("the run has no first adapter");
  std::copy(initial.begin(), initial.end(), digest.begin());
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, federation.session().FetchBlob(digest));
  return AtomicWriteFile(demo.folder + "/initial-adapter.gguf", bytes);
}

absl::StatusOr<DemoResult> Perform(Demo& demo) {
  const Clock& clock = demo.environment.clock;
  DemoResult result;
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<DemoFederation> federation,
                         DemoFederation::Start(demo.setup, demo.environment));
  CHOIR_RETURN_IF_ERROR(StartRun(demo, *federation));
  result.setup = clock.Now() - demo.begin;
  CHOIR_ASSIGN_OR_RETURN(result.run, FollowRounds(demo, *federation));
  CHOIR_RETURN_IF_ERROR(AwaitPulls(demo, *federation, result.run.adapter_version()));
  result.rounds = clock.Now() - demo.begin - result.setup;
  Tell(demo, "Measuring each node's held-out texts, before and after...");
  federation->Stop();
  DemoMeasurement what;
  what.device.backend = demo.options.backend;
  // One thread: two that wait for each other at every small step are slower on a busy machine.
  what.device.threads = 1;
  what.model = demo.setup.model;
  what.initial_adapter = demo.folder + "/initial-adapter.gguf";
  what.run_id = kRunName;
  if (result.run.adapter_digest().size() != what.final_digest.size()) {
    return absl::DataLossError("the run ended without an adapter");
  }
  std::copy(result.run.adapter_digest().begin(), result.run.adapter_digest().end(),
            what.final_digest.begin());
  CHOIR_ASSIGN_OR_RETURN(result.nodes, MeasureDemo(what, *federation, demo.environment.output));
  result.model_path = demo.setup.model;
  result.total = clock.Now() - demo.begin;
  return result;
}

void Report(const Demo& demo, const DemoResult& result) {
  Output& output = demo.environment.output;
  output.Json(DemoJson(result));
  output.Line("");
  output.Line("Held-out NLL, nats a token: the base model, and the adapter each node pulled");
  output.Line(DemoTable(result.nodes));
  for (const DemoNodeResult& node : result.nodes) {
    if (!node.prompt.empty()) output.Line("\n" + DemoSample(node));
  }
  output.Line("");
  output.Line(fmt::format("{} in all: {} to found, enrol and start, {} for {} rounds.",
                          HumaneDuration(result.total), HumaneDuration(result.setup),
                          HumaneDuration(result.rounds), result.run.rounds_published()));
  if (result.folder.empty()) {
    output.Line("Next: `choir demo --keep DIR` keeps the adapter; --data FOLDER takes your texts;");
    output.Line("      `choir federation init --help` founds a federation of real devices.");
    return;
  }
  const node::NodeHome home{fmt::format("{}/{}/node", demo.folder, result.nodes.front().name)};
  output.Line("Next: choir generate --model " + result.model_path + " \\");
  output.Line(fmt::format("        --adapter {}/{}/latest.gguf --prompt \"{}\"", home.Adapters(),
                          kRunName, result.nodes.front().prompt));
}

absl::Status Run(const Options& options, Environment& environment) {
  Demo demo{.options = options,
            .environment = environment,
            .folder = {},
            .setup = {},
            .run_toml = {},
            .begin = environment.clock.Now()};
  CHOIR_RETURN_IF_ERROR(Prepare(demo));
  CHOIR_ASSIGN_OR_RETURN(DemoFolder folder, DemoFolder::Make(options.keep));
  demo.folder = demo.setup.folder = folder.path();
  Introduce(demo);
  absl::StatusOr<DemoResult> result = Perform(demo);
  absl::Status verdict = result.ok() ? JudgeDemo(result->nodes) : result.status();
  const bool keep = !options.keep.empty() || (!verdict.ok() && !absl::IsCancelled(verdict));
  if (keep) folder.Keep();
  if (result.ok()) {
    if (keep) result->folder = demo.folder;
    Report(demo, *result);
  }
  if (verdict.ok() || !keep) return verdict;
  return WithHint(verdict, fmt::format("the programs' logs are in {}", demo.folder));
}

void DeclareTraining(CLI::App& app, Options& options) {
  app.add_option("--rounds", options.rounds, "Rounds")
      ->check(CLI::Range(1u, 1000u).description(""))
      ->capture_default_str();
  app.add_option("--steps", options.steps, "Optimiser steps of each node in each round")
      ->check(CLI::Range(1u, 100000u).description(""))
      ->capture_default_str();
  app.add_option("--lr", options.learning_rate,
                 fmt::format("Learning rate. Default: {}, or {} with --model", kShippedLearningRate,
                             kCarefulLearningRate))
      ->check(CLI::Range(1e-9, 10.0).description(""));
  app.add_option("--rank", options.rank, "LoRA rank")
      ->check(CLI::Range(1u, 256u).description(""))
      ->capture_default_str();
  app.add_option("--strategy", options.strategy, "How updates are merged: fedavg or alternating")
      ->check(OneOf({"fedavg", "alternating"}))
      ->capture_default_str();
  app.add_option("--backend", options.backend, "auto, cpu or vulkan")
      ->check(OneOf({"auto", "cpu", "vulkan"}))
      ->capture_default_str();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--model", options->model, "Base model. Default: a small one that Choir ships")
      ->type_name("M.gguf");
  app.add_option("--data", options->data,
                 "A folder with a sub-folder of texts for each node, or with JSONL files that are "
                 "dealt out. Default: four people's notes that Choir ships")
      ->type_name("FOLDER");
  app.add_option("--nodes", options->nodes, "How many. Default: 4")
      ->check(CLI::Range(kMinDemoNodes, kMaxDemoNodes).description(""))
      ->type_name(fmt::format("{}..{}", kMinDemoNodes, kMaxDemoNodes));
  DeclareTraining(app, *options);
  app.add_option("--keep", options->keep,
                 "Do it in this folder, new or empty, and keep it: keys, logs, adapters")
      ->type_name("DIR");
  app.footer(
      "Founds a federation in a temporary folder, starts a coordinator and the nodes on loopback,\n"
      "trains for some rounds, and shows what each node gained and sent. Ctrl-C ends it all.\n\n"
      "Examples:\n"
      "  choir demo\n"
      "  choir demo --rounds 6 --keep /tmp/choir\n"
      "  choir demo --model llama.gguf --data notes/ --nodes 3 --json\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kDemoCommand = {"demo", "A whole federation on this machine, in a minute", &Declare};

}  // namespace choir::cli
