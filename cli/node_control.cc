// `choir node status | pause | resume | allow | stop`: the owner and the daemon on this device.

#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "node/control/control_client.h"
#include "node/identity/identity.h"

namespace choir::cli {
namespace {

struct Options {
  std::string home = node::DefaultHome();
  std::string run;
};

absl::StatusOr<nlohmann::json> Ask(const Options& options, nlohmann::json request) {
  const node::NodeHome home{options.home};
  const absl::StatusOr<std::string> text = node::AskDaemon(home.ControlSocket(), request.dump());
  if (!text.ok()) {
    return WithHint(text.status(), "start it with `choird`, or name its folder with --home");
  }
  const nlohmann::json answer = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object() || !answer.contains("ok")) {
    return absl::DataLossError("choird gave an answer that makes no sense");
  }
  if (answer["ok"] != true) return absl::FailedPreconditionError(answer.value("error", "refused"));
  return answer["status"];
}

void PrintStatus(const nlohmann::json& status, Output& output) {
  const auto text = [&status](const char* key) { return status.value(key, std::string()); };
  const auto count = [&status](const char* key) { return status.value(key, uint64_t{0}); };
  const bool paused = status.value("paused", false);
  const std::string state = paused ? "paused" : text("state");
  output.Line(fmt::format("{}{}", output.Styled(Style::kBold, state),
                          text("detail").empty() ? "" : ": " + text("detail")));
  if (!text("run").empty()) {
    output.Line(fmt::format("  run           {}, round {}", text("run"), count("round")));
  }
  if (count("total_steps") > 0) {
    output.Line(fmt::format("  training      step {} of {}, loss {:.3f}, {} tokens/s",
                            count("step"), count("total_steps"), status.value("loss", 0.0),
                            HumaneRate(status.value("tokens_per_second", 0.0))));
  }
  output.Line(fmt::format("  contributed   {} rounds, {} sent, all of it masked",
                          count("rounds_contributed"), HumaneBytes(count("bytes_sent_masked"))));
  if (count("bytes_sent_masked") > 0) {
    const auto epsilon = status.find("epsilon");
    const double budget = status.value("max_epsilon", 0.0);
    output.Line(fmt::format("  privacy       {}{}; `choir privacy` shows all of it",
                            epsilon != status.end() && epsilon->is_number()
                                ? fmt::format("epsilon {:.4f}", epsilon->get<double>())
                                : "no bound: something left without noise",
                            budget > 0 ? fmt::format(" of your {}", budget) : ""));
  }
  output.Line(fmt::format("  federation    {} at {}", text("federation"), text("coordinator")));
  output.Line(fmt::format("  node          {}", text("node_id").substr(0, 12)));
  for (const auto& run : status.value("runs_waiting_for_consent", nlohmann::json::array())) {
    output.Line(
        fmt::format("  waiting for your consent: choir node allow {}", run.get<std::string>()));
  }
  if (!text("last_problem").empty()) {
    output.Line(output.Styled(Style::kDim, "  last problem  " + text("last_problem")));
  }
}

absl::Status RunStatus(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const nlohmann::json status, Ask(options, {{"command", "status"}}));
  environment.output.Json(status);
  if (!environment.output.json()) PrintStatus(status, environment.output);
  return absl::OkStatus();
}

absl::Status RunWish(const Options& options, const char* command, const char* done,
                     Environment& environment) {
  nlohmann::json request = {{"command", command}};
  if (!options.run.empty()) request["run"] = options.run;
  CHOIR_ASSIGN_OR_RETURN(const nlohmann::json status, Ask(options, std::move(request)));
  environment.output.Json(status);
  environment.output.Line(done);
  return absl::OkStatus();
}

std::shared_ptr<Options> DeclareHome(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--home", options->home, "The node's folder ($CHOIR_HOME)")
      ->type_name("DIR")
      ->capture_default_str();
  return options;
}

Action DeclareStatus(CLI::App& app) {
  auto options = DeclareHome(app);
  app.footer("Examples:\n  choir node status\n  choir node status --json\n");
  return [options](Environment& environment) { return RunStatus(*options, environment); };
}

Action DeclarePause(CLI::App& app) {
  auto options = DeclareHome(app);
  app.footer("Examples:\n  choir node pause\n");
  return [options](Environment& environment) {
    return RunWish(*options, "pause", "Paused. A training that runs keeps its progress.",
                   environment);
  };
}

Action DeclareResume(CLI::App& app) {
  auto options = DeclareHome(app);
  app.footer("Examples:\n  choir node resume\n");
  return [options](Environment& environment) {
    return RunWish(*options, "resume", "Resumed.", environment);
  };
}

Action DeclareStop(CLI::App& app) {
  auto options = DeclareHome(app);
  app.footer("Examples:\n  choir node stop\n");
  return [options](Environment& environment) {
    return RunWish(*options, "stop",
                   "choird stops; what it was doing goes on when it starts again.", environment);
  };
}

Action DeclareAllow(CLI::App& app) {
  auto options = DeclareHome(app);
  app.add_option("run", options->run, "The run that this device may take part in")->required();
  app.footer(
      "Lasts until choird stops; [policy] allowed_runs in node.toml is for good.\n\n"
      "Examples:\n  choir node allow shakespeare-1\n");
  return [options](Environment& environment) {
    return RunWish(*options, "allow", "Allowed.", environment);
  };
}

}  // namespace

const Command kNodeStatusCommand = {"node status", "What this device's choird is doing",
                                    &DeclareStatus};
const Command kNodePauseCommand = {"node pause", "Stop working until resumed", &DeclarePause};
const Command kNodeResumeCommand = {"node resume", "Work again", &DeclareResume};
const Command kNodeAllowCommand = {"node allow", "Consent to a run", &DeclareAllow};
const Command kNodeStopCommand = {"node stop", "End this device's choird", &DeclareStop};

}  // namespace choir::cli
