#include "engine/model/architecture.h"

#include <fmt/format.h>

#include "engine/model/architectures.h"

namespace choir::engine {
namespace {

constexpr const Architecture* kArchitectures[] = {
    &kLlamaArchitecture,
};

}  // namespace

std::span<const Architecture* const> AllArchitectures() {
  return kArchitectures;
}

absl::StatusOr<const Architecture*> FindArchitecture(std::string_view name) {
  std::string known;
  for (const Architecture* architecture : kArchitectures) {
    if (architecture->name == name) return architecture;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", architecture->name);
  }
  return absl::UnimplementedError(
      fmt::format("general.architecture is \"{}\"; this build knows {}", name, known));
}

std::vector<NeededTensor> CommonLayerTensors(const ModelSpec& spec, int64_t layer) {
  const auto matrix = [&](std::string_view part, int64_t rows, int64_t cols) {
    return NeededTensor::Matrix(LayerWeightName(layer, part), rows, cols);
  };
  const auto vector = [&](std::string_view part, int64_t cols) {
    return NeededTensor::Vector(LayerWeightName(layer, part), cols);
  };
  return {vector("attn_norm", spec.channels),
          matrix("attn_q", spec.q_cols(), spec.channels),
          matrix("attn_k", spec.kv_cols(), spec.channels),
          matrix("attn_v", spec.kv_cols(), spec.channels),
          matrix("attn_output", spec.channels, spec.q_cols()),
          vector("ffn_norm", spec.channels),
          matrix("ffn_gate", spec.feed_forward, spec.channels),
          matrix("ffn_up", spec.feed_forward, spec.channels),
          matrix("ffn_down", spec.channels, spec.feed_forward)};
}

}  // namespace choir::engine
