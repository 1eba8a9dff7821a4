#include "engine/lora/contribution.h"

#include <fmt/format.h>

#include "base/check.h"
#include "engine/lora/latent.h"
#include "engine/lora/sketch.h"

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
    {Contribution::kSketchLeft, "sketch-left", TrainedFactors::kBoth, TrainedFactors::kBoth},
    {Contribution::kSketchRight, "sketch-right", TrainedFactors::kBoth, TrainedFactors::kBoth},
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
      fmt::format("\"{}\" names no contribution: use both, a, b, shared-a, core, sketch-left "
                  "or sketch-right",
                  name));
}

std::string_view ContributionName(Contribution contribution) {
  return EntryOf(contribution).name;
}

TrainedFactors TrainedBy(Contribution contribution) {
  return EntryOf(contribution).trained;
}

bool IsFactors(Contribution contribution) {
  return contribution < Contribution::kCore;
}

bool NeedsBasis(Contribution contribution) {
  return contribution == Contribution::kCore || contribution == Contribution::kSketchRight;
}

uint64_t ContributionLength(const Adapter& adapter, Contribution contribution) {
  if (contribution == Contribution::kCore) return CoreLength(adapter);
  if (contribution == Contribution::kSketchLeft) return LeftSketchLength(adapter);
  if (contribution == Contribution::kSketchRight) return RightSketchLength(adapter);
  return CountFactors(adapter, EntryOf(contribution).sent);
}

std::vector<float> ContributionOf(const Adapter& delta, Contribution contribution) {
  CHOIR_CHECK(IsFactors(contribution));
  return FlattenFactors(delta, EntryOf(contribution).sent);
}

absl::Status AddContribution(Adapter& adapter, Contribution contribution, float factor,
                             std::span<const float> values) {
  CHOIR_CHECK(IsFactors(contribution));
  return AddToFactors(adapter, EntryOf(contribution).sent, factor, values);
}

}  // namespace choir::engine
