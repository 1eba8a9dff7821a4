#include "coordinator/strategy/latent.h"

#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/latent.h"

namespace choir::coordinator {

engine::Contribution Latent::ContributionFor(uint64_t parent) const {
  return parent == 0 ? engine::Contribution::kBoth : engine::Contribution::kCore;
}

absl::Status Latent::Apply(std::span<const float> update, uint64_t parent,
                           VersionState& version) const {
  if (parent == 0) {
    engine::Adapter merged = version.adapter;
    CHOIR_RETURN_IF_ERROR(engine::AddContribution(merged, ContributionFor(parent), 1.0f, update));
    CHOIR_ASSIGN_OR_RETURN(engine::LatentStart start, engine::MakeLatent(merged));
    version = {std::move(start.adapter), std::move(start.basis)};
    return absl::OkStatus();
  }
  if (!version.basis.has_value()) {
    return absl::FailedPreconditionError(
        fmt::format("version {} of a latent run has no basis", parent));
  }
  std::vector<float> core = engine::CoreOf(version.adapter, *version.basis);
  if (update.size() != core.size()) {
    return absl::InvalidArgumentError(
        fmt::format("the adapter's cores have {} values, got {}", core.size(), update.size()));
  }
  for (size_t i = 0; i < core.size(); ++i) core[i] += update[i];
  return engine::SetCore(version.adapter, *version.basis, core);
}

}  // namespace choir::coordinator
