#ifndef CHOIR_CLI_SAMPLING_OPTIONS_H_
#define CHOIR_CLI_SAMPLING_OPTIONS_H_

// How commands that generate text choose tokens.

#include <memory>
#include <optional>

#include "absl/status/statusor.h"

#include "CLI/CLI.hpp"
#include "engine/infer/sampler.h"

namespace choir::cli {

struct SamplingChoice {
  // Nothing: 0 (always the likeliest token), or 1 where an option that narrows a draw is given.
  std::optional<float> temperature;
  engine::SamplingOptions options;
};

// --temperature, --top-k, --top-p, --min-p, --repeat-penalty, --repeat-window, --seed.
void AddSamplingOptions(CLI::App& app, SamplingChoice& choice);
// A usage error for a value out of range.
absl::StatusOr<std::unique_ptr<engine::Sampler>> MakeSampler(const SamplingChoice& choice);

}  // namespace choir::cli

#endif  // CHOIR_CLI_SAMPLING_OPTIONS_H_
