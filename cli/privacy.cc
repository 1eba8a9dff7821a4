// `choir privacy`: what left this device, and what it cost, from the node's own ledger.

#include <cmath>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "node/identity/identity.h"
#include "node/ledger/ledger.h"

namespace choir::cli {
namespace {

struct Options {
  std::string home = node::DefaultHome();
  double delta = 1e-5;
};

nlohmann::json Number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

std::string EpsilonText(double epsilon) {
  return std::isfinite(epsilon) ? fmt::format("{:.4f}", epsilon) : "no bound";
}

nlohmann::json ToJson(const node::Departure& d) {
  return {{"time", absl::FormatTime(absl::RFC3339_sec, d.time, absl::UTCTimeZone())},
          {"run", d.run_id},
          {"round", d.round},
          {"session", d.session_hex},
          {"masked_bytes", d.masked_bytes},
          {"input_hash", d.input_hash_hex},
          {"mechanism", d.mechanism},
          {"noise_multiplier", d.noise_multiplier},
          {"clip_norm", d.clip_norm},
          {"epsilon", Number(d.epsilon)},
          {"delta", d.delta},
          {"outcome", d.outcome},
          {"in_the_sum", d.in_the_sum},
          {"result_hash", d.result_hash_hex},
          {"contributors", d.contributors},
          {"run_epsilon", d.stated_epsilon}};
}

void Print(const node::Ledger& ledger, double delta, Output& output) {
  if (ledger.departures().empty()) {
    output.Line("Nothing has left this device yet.");
    return;
  }
  TextTable table({"TIME", "RUN", "ROUND", "SENT", "NOISE", "CLIP", "EPSILON", "OUTCOME"});
  for (const node::Departure& d : ledger.departures()) {
    table.AddRow({absl::FormatTime("%Y-%m-%d %H:%M", d.time, absl::LocalTimeZone()), d.run_id,
                  fmt::format("{}", d.round), HumaneBytes(d.masked_bytes),
                  d.mechanism == "none" ? d.mechanism
                                        : fmt::format("{} {}", d.mechanism, d.noise_multiplier),
                  fmt::format("{:.4g}", d.clip_norm), EpsilonText(d.epsilon),
                  d.outcome.empty() ? "open" : d.outcome});
  }
  output.Line(table.Render());
  output.Line("");
  const double epsilon = privacy::EpsilonOf(ledger.Spent(), delta);
  output.Line(
      fmt::format("{} masked inputs have left this device. {}", ledger.departures().size(),
                  std::isfinite(epsilon)
                      ? fmt::format("Together: epsilon {:.4f} at delta {}.", epsilon, delta)
                      : "As some had no noise, there is no bound on what they say together."));
  output.Line("Each line of the ledger follows from the one before; none is missing.");
}

absl::Status Run(const Options& options, Environment& environment) {
  const node::NodeHome home{options.home};
  const absl::StatusOr<node::Ledger> ledger = node::Ledger::Open(home.Ledger());
  if (!ledger.ok()) {
    return WithHint(ledger.status(), "keep " + home.Ledger() +
                                         " and its .head as they are: they show what happened; to "
                                         "take part again, enrol anew in another --home");
  }
  nlohmann::json list = nlohmann::json::array();
  for (const node::Departure& departure : ledger->departures()) list.push_back(ToJson(departure));
  environment.output.Json({{"ledger", home.Ledger()},
                           {"verified", true},
                           {"delta", options.delta},
                           {"epsilon", Number(privacy::EpsilonOf(ledger->Spent(), options.delta))},
                           {"departures", std::move(list)}});
  if (!environment.output.json()) Print(*ledger, options.delta, environment.output);
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--home", options->home, "The node's folder ($CHOIR_HOME)")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--delta", options->delta, "At which the total is said")
      ->check(CLI::Range(1e-12, 0.1))
      ->capture_default_str();
  app.footer(
      "Checks the ledger's whole chain; a changed or missing line is an error.\n\n"
      "Examples:\n  choir privacy\n  choir privacy --home fed/sailor --json\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kPrivacyCommand = {"privacy", "What left this device, and what it cost in privacy",
                                 &Declare};

}  // namespace choir::cli
