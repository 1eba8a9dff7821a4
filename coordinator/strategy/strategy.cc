#include "coordinator/strategy/strategy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "coordinator/strategy/alternating.h"
#include "coordinator/strategy/fed_avg.h"
#include "coordinator/strategy/ffa.h"
#include "coordinator/strategy/latent.h"
#include "coordinator/strategy/share_a.h"
#include "coordinator/strategy/sketch.h"

namespace choir::coordinator {
namespace {

struct StrategyEntry {
  const char* name;
  std::unique_ptr<AggregationStrategy> (*make)();
};

template <typename Strategy>
std::unique_ptr<AggregationStrategy> Make() {
  return std::make_unique<Strategy>();
}

// One line per strategy, in alphabetical order.
constexpr StrategyEntry kStrategies[] = {
    {"alternating", Make<Alternating>}, {"fedavg", Make<FedAvg>},  {"ffa", Make<Ffa>},
    {"latent", Make<Latent>},           {"share-a", Make<ShareA>}, {"sketch", Make<Sketch>},
};

}  // namespace

absl::Status AggregationStrategy::Apply(std::span<const float> update, uint64_t parent,
                                        VersionState& version) const {
  return engine::AddContribution(version.adapter, ContributionFor(parent), 1.0f, update);
}

absl::StatusOr<std::unique_ptr<AggregationStrategy>> MakeStrategy(std::string_view name) {
  for (const StrategyEntry& entry : kStrategies) {
    if (entry.name == name) return entry.make();
  }
  return absl::NotFoundError(
      fmt::format("no strategy \"{}\": there are {}", name, fmt::join(StrategyNames(), ", ")));
}

std::vector<std::string> StrategyNames() {
  std::vector<std::string> names;
  for (const StrategyEntry& entry : kStrategies) names.emplace_back(entry.name);
  return names;
}

}  // namespace choir::coordinator
