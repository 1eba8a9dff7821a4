#ifndef CHOIR_ENGINE_LORA_PEFT_CONFIG_H_
#define CHOIR_ENGINE_LORA_PEFT_CONFIG_H_

// adapter_config.json: what Hugging Face PEFT stores beside an adapter's tensors.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir::engine {

// The part of PEFT's LoraConfig that decides what an adapter computes.
struct PeftConfig {
  int64_t rank = 8;
  double alpha = 8;
  bool rslora = false;
  double dropout = 0;  // in training; changes nothing of what a trained adapter computes
  // Module names or their endings ("q_proj", "model.layers.0.self_attn.q_proj"), first match first.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::vector<std::string> target_modules;
  std::string base_model;

  // rank_pattern and alpha_pattern applied: of the module "model.layers.0.self_attn.q_proj".
  [[nodiscard]] int64_t RankOf(std::string_view module) const;
  [[nodiscard]] double AlphaOf(std::string_view module) const;
};

// INVALID_ARGUMENT: no JSON object, another peft_type, a field of the wrong kind or out of range.
// UNIMPLEMENTED: what W + scale * B A cannot express (DoRA, biases, modules saved whole, initial
// values taken out of the base weights, ...), or a pattern that is a regular expression.
absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view json);

// With every field that PEFT itself writes, those that Choir has no use for at PEFT's defaults.
std::string SerializePeftConfig(const PeftConfig& config);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_PEFT_CONFIG_H_
