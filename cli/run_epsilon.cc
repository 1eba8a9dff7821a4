// `choir run epsilon`: what a run would promise, before there is one.

#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "privacy/accountant.h"

namespace choir::cli {
namespace {

struct Options {
  double noise_multiplier = 0;
  double epsilon = 0;
  double delta = 1e-5;
  uint64_t rounds = 10;
  double rate = 1;
};

absl::Status Run(const Options& options, Environment& environment) {
  double multiplier = options.noise_multiplier;
  if (options.epsilon > 0) {
    CHOIR_ASSIGN_OR_RETURN(
        multiplier, privacy::NoiseMultiplierFor(options.epsilon, options.delta, options.rounds));
  }
  const auto rounds = static_cast<double>(options.rounds);
  const auto cost = [&](double rate) {
    const privacy::RdpCurve curve = privacy::SampledGaussianRdp(multiplier, rate).Times(rounds);
    return privacy::EpsilonOf(curve, options.delta);
  };
  const double epsilon = cost(1);
  nlohmann::json answer = {{"noise_multiplier", multiplier},
                           {"rounds", options.rounds},
                           {"delta", options.delta},
                           {"epsilon", epsilon}};
  Output& output = environment.output;
  output.Line(fmt::format("noise multiplier {}, {} rounds: epsilon {:.4f} at delta {}", multiplier,
                          options.rounds, epsilon, options.delta));
  if (options.rate < 1) {
    answer["rate"] = options.rate;
    answer["epsilon_if_sampled"] = cost(options.rate);
    output.Line(fmt::format("if each node took part by its own coin of {}: epsilon {:.4f}",
                            options.rate, cost(options.rate)));
    output.Line("Choir claims the first: who is idle and on power is no random sample.");
  }
  output.Json(answer);
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* noise = app.add_option("--noise-multiplier", options->noise_multiplier,
                               "Deviation of a sum's noise, in clip norms")
                    ->check(CLI::Range(0.01, 1e4));
  auto* target = app.add_option("--epsilon", options->epsilon,
                                "Instead: find the multiplier that keeps to this")
                     ->check(CLI::Range(1e-3, 1e6));
  noise->excludes(target);
  app.add_option("--rounds", options->rounds, "Rounds of the run")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000}))
      ->capture_default_str();
  app.add_option("--delta", options->delta, "The other half of the promise")
      ->check(CLI::Range(1e-12, 0.1))
      ->capture_default_str();
  app.add_option("--rate", options->rate,
                 "For comparison: the share of nodes in each round, if drawn by coin")
      ->check(CLI::Range(1e-6, 1.0))
      ->capture_default_str();
  app.footer(
      "Examples:\n"
      "  choir run epsilon --noise-multiplier 1 --rounds 10\n"
      "  choir run epsilon --epsilon 4 --rounds 50 --delta 1e-6\n");
  return [options, noise, target](Environment& environment) -> absl::Status {
    if (noise->count() + target->count() == 0) {
      return absl::InvalidArgumentError("give --noise-multiplier or --epsilon");
    }
    return Run(*options, environment);
  };
}

}  // namespace

const Command kRunEpsilonCommand = {"run epsilon", "What noise over how many rounds would promise",
                                    &Declare};

}  // namespace choir::cli
