#include "coordinator/strategy/sketch.h"

#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/sketch.h"

namespace choir::coordinator {
namespace {

// The nodes sent differences to the adapter that they started from: what they have in common is
// added here, where no fixed point rounds it.
absl::StatusOr<std::vector<float>> Whole(std::vector<float> common, std::span<const float> update) {
  if (common.size() != update.size()) {
    return absl::InvalidArgumentError(
        fmt::format("a sketch of {} values, got {}", common.size(), update.size()));
  }
  for (size_t i = 0; i < common.size(); ++i) common[i] += update[i];
  return common;
}

}  // namespace

engine::Contribution Sketch::ContributionFor(uint64_t parent) const {
  return parent % 2 == 0 ? engine::Contribution::kSketchLeft : engine::Contribution::kSketchRight;
}

absl::Status Sketch::Apply(std::span<const float> update, uint64_t parent,
                           VersionState& version) const {
  if (parent % 2 == 0) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<float> left,
                           Whole(engine::LeftSketch(version.adapter, parent), update));
    CHOIR_ASSIGN_OR_RETURN(version.basis, engine::SketchBasis(version.adapter, left));
    return absl::OkStatus();
  }
  if (!version.basis.has_value()) {
    return absl::FailedPreconditionError(
        fmt::format("version {} of a run that sketches has no basis", parent));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> right,
                         Whole(engine::RightSketch(version.adapter, *version.basis), update));
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter next,
                         engine::AdapterFromSketch(version.adapter, *version.basis, right));
  version = {std::move(next), std::nullopt};
  return absl::OkStatus();
}

}  // namespace choir::coordinator
