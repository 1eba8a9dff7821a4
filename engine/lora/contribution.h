#ifndef CHOIR_ENGINE_LORA_CONTRIBUTION_H_
#define CHOIR_ENGINE_LORA_CONTRIBUTION_H_

// What one node contributes to a federated round: which factors it trains, and which part of what
// it learned it sends.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"
#include "engine/lora/factors.h"

namespace choir::engine {

enum class Contribution : uint8_t {
  kBoth,         // trains and sends both factors
  kA,            // trains and sends A; B is common and frozen
  kB,            // trains and sends B; A is common and frozen
  kSharedA,      // trains both and sends A; B is the node's own and never leaves it
  kCore,         // trains and sends the cores between a common, fixed basis (latent.h)
  kSketchLeft,   // trains both and sends the left sketch of their product (sketch.h)
  kSketchRight,  // sends the right sketch of what it trained for the left one
};

// "both", "a", "b", "shared-a", "core", "sketch-left", "sketch-right": what a signed
// task carries. INVALID_ARGUMENT lists them.
absl::StatusOr<Contribution> ParseContribution(std::string_view name);
std::string_view ContributionName(Contribution contribution);

// Of kCore: B, which the core moves.
TrainedFactors TrainedBy(Contribution contribution);
// What is sent is a part of the factors themselves: ContributionOf and AddContribution are for
// these. Of the others: latent.h, sketch.h.
bool IsFactors(Contribution contribution);
// It needs a basis, which the adapter version names.
bool NeedsBasis(Contribution contribution);

// Length of the vector that is sent.
uint64_t ContributionLength(const Adapter& adapter, Contribution contribution);
// What is sent of `delta` (trained minus start): canonical order, row-major. IsFactors only.
std::vector<float> ContributionOf(const Adapter& delta, Contribution contribution);
// adapter += factor * values, where they belong. INVALID_ARGUMENT if the count differs. IsFactors
// only.
absl::Status AddContribution(Adapter& adapter, Contribution contribution, float factor,
                             std::span<const float> values);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_CONTRIBUTION_H_
