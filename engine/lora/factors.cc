#include "engine/lora/factors.h"

#include <fmt/format.h>

namespace choir::engine {
namespace {

// Calls visit(tensor) for each chosen factor, in canonical order.
template <typename AdapterType, typename Visit>
void ForEachFactor(AdapterType& adapter, TrainedFactors factors, Visit visit) {
  for (auto& pair : adapter.pairs) {
    if (factors != TrainedFactors::kB) visit(pair.a);
    if (factors != TrainedFactors::kA) visit(pair.b);
  }
}

}  // namespace

absl::StatusOr<TrainedFactors> ParseTrainedFactors(std::string_view name) {
  for (const TrainedFactors factors :
       {TrainedFactors::kBoth, TrainedFactors::kA, TrainedFactors::kB}) {
    if (TrainedFactorsName(factors) == name) return factors;
  }
  return absl::InvalidArgumentError(fmt::format("\"{}\" names no factors: use both, a or b", name));
}

std::string_view TrainedFactorsName(TrainedFactors factors) {
  switch (factors) {
    case TrainedFactors::kBoth:
      return "both";
    case TrainedFactors::kA:
      return "a";
    case TrainedFactors::kB:
      return "b";
  }
  return "?";
}

uint64_t CountFactors(const Adapter& adapter, TrainedFactors factors) {
  uint64_t count = 0;
  ForEachFactor(adapter, factors, [&count](const std::vector<float>& t) { count += t.size(); });
  return count;
}

std::vector<float> FlattenFactors(const Adapter& adapter, TrainedFactors factors) {
  std::vector<float> out;
  out.reserve(CountFactors(adapter, factors));
  ForEachFactor(adapter, factors,
                [&out](const std::vector<float>& t) { out.insert(out.end(), t.begin(), t.end()); });
  return out;
}

absl::Status AddToFactors(Adapter& adapter, TrainedFactors factors, float factor,
                          std::span<const float> values) {
  const uint64_t count = CountFactors(adapter, factors);
  if (values.size() != count) {
    return absl::InvalidArgumentError(
        fmt::format("the adapter has {} values to add to, got {}", count, values.size()));
  }
  size_t at = 0;
  ForEachFactor(adapter, factors, [&](std::vector<float>& tensor) {
    for (float& value : tensor) value += factor * values[at++];
  });
  return absl::OkStatus();
}

}  // namespace choir::engine
