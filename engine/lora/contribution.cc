#include "engine/lora/contribution.h"

#include <fmt/format.h>

#include "base/check.h"
#include "engine/lora/latent.h"

namespace choir::engine {
namespace {

struct Entry {
  Contribution contribution;
  const char* name;
  TrainedFactors trained;
  TrainedFactors sent;
};

constexpr Entry kContributions[] = {
    {Contribution::kBoth, "both", TrainedFactors::kBoth, TrainedFactors::kBoth},
    {Contribution::kA, "a", TrainedFactors::kA, TrainedFactors::kA},
    {Contribution::kB, "b", TrainedFactors::kB, TrainedFactors::kB},
    {Contribution::kSharedA, "shared-a", TrainedFactors::kBoth, TrainedFactors::kA},
    {Contribution::kCore, "core", TrainedFactors::kB, TrainedFactors::kB},
};

const Entry& EntryOf(Contribution contribution) {
  return kContributions[static_cast<size_t>(contribution)];
}

}  // namespace

absl::StatusOr<Contribution> ParseContribution(std::string_view name) {
  for (const Entry& entry : kContributions) {
    if (entry.name == name) return entry.contribution;
  }
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" names no contribution: use both, a, b, shared-a or core", name));
}

std::string_view ContributionName(Contribution contribution) {
  return EntryOf(contribution).name;
}

TrainedFactors TrainedBy(Contribution contribution) {
  return EntryOf(contribution).trained;
}

uint64_t ContributionLength(const Adapter& adapter, Contribution contribution) {
  if (contribution == Contribution::kCore) return CoreLength(adapter);
  return CountFactors(adapter, EntryOf(contribution).sent);
}

std::vector<float> ContributionOf(const Adapter& delta, Contribution contribution) {
  CHOIR_CHECK(contribution != Contribution::kCore);
  return FlattenFactors(delta, EntryOf(contribution).sent);
}

absl::Status AddContribution(Adapter& adapter, Contribution contribution, float factor,
                             std::span<const float> values) {
  CHOIR_CHECK(contribution != Contribution::kCore);
  return AddToFactors(adapter, EntryOf(contribution).sent, factor, values);
}

}  // namespace choir::engine
