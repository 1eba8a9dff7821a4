#include "cli/sampling_options.h"

#include <utility>

#include "cli/failure.h"

namespace choir::cli {
namespace {

constexpr const char* kGroup = "Sampling";

bool NarrowsADraw(const engine::SamplingOptions& options) {
  return options.top_k != 0 || options.top_p != 1.0f || options.min_p != 0.0f;
}

}  // namespace

void AddSamplingOptions(CLI::App& app, SamplingChoice& choice) {
  engine::SamplingOptions& options = choice.options;
  app.add_option(
         "--temperature", choice.temperature,
         "0: always the likeliest token; 1: as the model says. Default 0, or 1 with --top-k, "
         "--top-p or --min-p")
      ->type_name("X")
      ->group(kGroup);
  app.add_option("--top-k", options.top_k, "Draw from so many of the likeliest tokens; 0: all")
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--top-p", options.top_p, "From as few as hold this probability together; 1: all")
      ->type_name("P")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--min-p", options.min_p,
                 "From those no less likely than this part of the likeliest; 0: all")
      ->type_name("P")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--repeat-penalty", options.repeat_penalty,
                 "Above 1: tokens of the last --repeat-window become less likely")
      ->type_name("X")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--repeat-window", options.repeat_window,
                 "Tokens that --repeat-penalty looks back; -1: all")
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--seed", options.seed, "Equal seeds draw equal texts")
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
}

absl::StatusOr<std::unique_ptr<engine::Sampler>> MakeSampler(const SamplingChoice& choice) {
  engine::SamplingOptions options = choice.options;
  options.temperature = choice.temperature.value_or(NarrowsADraw(options) ? 1.0f : 0.0f);
  absl::StatusOr<engine::RandomSampler> sampler = engine::RandomSampler::Create(options);
  if (!sampler.ok()) return UsageError(MessageOf(sampler.status()));
  return std::make_unique<engine::RandomSampler>(*std::move(sampler));
}

}  // namespace choir::cli
