#ifndef CHOIR_ENGINE_LORA_FACTORS_H_
#define CHOIR_ENGINE_LORA_FACTORS_H_

// Which of a LoRA pair's two factors are trained and sent: both, or one while the other stays as it
// is (RoLoRA, arXiv 2502.01755; FFA-LoRA, arXiv 2403.12313).

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"

namespace choir::engine {

enum class TrainedFactors : uint8_t { kBoth, kA, kB };

// "both", "a", "b". INVALID_ARGUMENT lists them.
absl::StatusOr<TrainedFactors> ParseTrainedFactors(std::string_view name);
std::string_view TrainedFactorsName(TrainedFactors factors);

// Length of the vector that is sent.
uint64_t CountFactors(const Adapter& adapter, TrainedFactors factors);
// The chosen factors in canonical order (pair by pair, A before B), row-major.
std::vector<float> FlattenFactors(const Adapter& adapter, TrainedFactors factors);
// adapter += factor * values, for the chosen factors. INVALID_ARGUMENT if the count differs.
absl::Status AddToFactors(Adapter& adapter, TrainedFactors factors, float factor,
                          std::span<const float> values);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_FACTORS_H_
