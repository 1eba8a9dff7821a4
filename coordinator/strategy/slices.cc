#include "coordinator/strategy/slices.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/check.h"

namespace choir::coordinator {
namespace {

// Slots of whole numbers add up exactly; what is below half an example is none.
constexpr double kHalfAnExample = 0.5;

}  // namespace

uint32_t CountComponents(const engine::Adapter& adapter) {
  int64_t most = 0;
  for (const engine::LoraPair& pair : adapter.pairs) most = std::max(most, pair.rank);
  return static_cast<uint32_t>(most);
}

std::vector<uint32_t> ComponentsOf(const engine::Adapter& adapter,
                                   engine::Contribution contribution) {
  CHOIR_CHECK(engine::IsFactors(contribution));
  // Through the order in which values are sent: an adapter that holds its own component numbers.
  engine::Adapter numbers = adapter;
  for (engine::LoraPair& pair : numbers.pairs) {
    for (size_t i = 0; i < pair.a.size(); ++i) {
      pair.a[i] = static_cast<float>(i / static_cast<size_t>(pair.cols));
    }
    for (size_t i = 0; i < pair.b.size(); ++i) {
      pair.b[i] = static_cast<float>(i % static_cast<size_t>(pair.rank));
    }
  }
  std::vector<uint32_t> components;
  for (const float number : engine::ContributionOf(numbers, contribution)) {
    components.push_back(static_cast<uint32_t>(number));
  }
  return components;
}

absl::StatusOr<std::vector<double>> ComponentWeights(std::span<const double> slots,
                                                     uint64_t max_weight, double total_weight) {
  const auto whole = static_cast<double>(max_weight);
  std::vector<double> weights;
  for (size_t j = 0; j < slots.size(); ++j) {
    if (!(slots[j] > -kHalfAnExample) || !(slots[j] < total_weight * whole + kHalfAnExample)) {
      return absl::DataLossError(
          fmt::format("component {} was trained with {} examples, of {} in all", j, slots[j],
                      total_weight * whole));
    }
    weights.push_back(slots[j] < kHalfAnExample ? 0.0 : slots[j] / whole);
  }
  return weights;
}

absl::Status DivideByComponent(std::span<const uint32_t> components,
                               std::span<const double> weights, double total_weight,
                               std::vector<float>& mean) {
  if (components.size() != mean.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} values of {} components", mean.size(), components.size()));
  }
  for (const uint32_t component : components) {
    if (component < weights.size()) continue;
    return absl::InvalidArgumentError(
        fmt::format("component {} has no weight: there are {}", component, weights.size()));
  }
  for (size_t i = 0; i < mean.size(); ++i) {
    const double weight = weights[components[i]];
    mean[i] = weight > 0 ? static_cast<float>(double{mean[i]} * total_weight / weight) : 0.0f;
  }
  return absl::OkStatus();
}

}  // namespace choir::coordinator
