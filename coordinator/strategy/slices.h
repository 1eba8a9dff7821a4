#ifndef CHOIR_COORDINATOR_STRATEGY_SLICES_H_
#define CHOIR_COORDINATOR_STRATEGY_SLICES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"
#include "engine/lora/contribution.h"

// Different ranks on different devices in one run: a device with a budget of r_k trains r_k of the
// r components of the whole adapter, a random window in each round, and sends zero for the others.
// Dividing by all weight would dilute every component by those who did not train it; so each node
// also sends, in masked slots, its weight for each component that it trained, and each component is
// divided by its own sum.
namespace choir::coordinator {

// The largest rank of a pair: so many components, and masked slots, there are.
uint32_t CountComponents(const engine::Adapter& adapter);

// The component (row of A, column of B) of each value that is sent. IsFactors only.
std::vector<uint32_t> ComponentsOf(const engine::Adapter& adapter,
                                   engine::Contribution contribution);

// Weights of a cohort's components from its slots, which are sums of min(examples, max_weight).
// DATA_LOSS if one is negative or above the cohort's whole weight: no honest nodes add up to that.
absl::StatusOr<std::vector<double>> ComponentWeights(std::span<const double> slots,
                                                     uint64_t max_weight, double total_weight);

// Turns a mean over `total_weight` into each component's mean over its own weight; a component that
// nobody trained stays where it is. INVALID_ARGUMENT if there are other counts.
absl::Status DivideByComponent(std::span<const uint32_t> components,
                               std::span<const double> weights, double total_weight,
                               std::vector<float>& mean);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_SLICES_H_
