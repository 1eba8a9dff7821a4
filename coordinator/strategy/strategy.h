#ifndef CHOIR_COORDINATOR_STRATEGY_STRATEGY_H_
#define CHOIR_COORDINATOR_STRATEGY_STRATEGY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"
#include "engine/lora/contribution.h"

// How summed deltas become the next adapter, in three steps: combine.h makes one update of the
// cohorts' means, server_optimizer.h decides how far to follow it, and a strategy adds it to the
// adapter. A strategy is handed sums and nothing else, so none can be written that looks at a
// single device.
namespace choir::coordinator {

// What a version is made of.
struct VersionState {
  engine::Adapter adapter;
  // Where the strategy trains cores between a fixed basis (engine/lora/latent.h): that basis.
  std::optional<engine::Adapter> basis{};
};

// Stateless: the same arguments give the same adapter.
class AggregationStrategy {
 public:
  virtual ~AggregationStrategy() = default;

  // What nodes train and send in the round that starts from adapter version `parent` (0: the run's
  // initial adapter). An abandoned round leaves the version, and so this, as it was.
  [[nodiscard]] virtual engine::Contribution ContributionFor(uint64_t parent) const = 0;

  // How many versions, from an even multiple of it on, one update of the adapter takes.
  [[nodiscard]] virtual uint64_t VersionsPerUpdate() const { return 1; }
  // False: the updates have no coordinates that moments could follow from version to version.
  [[nodiscard]] virtual bool TakesServerOptimizer() const { return true; }

  // Moves version `parent` to the next version by `update`, of the length that
  // ContributionFor(parent) has. INVALID_ARGUMENT, and nothing changed, if it has another.
  [[nodiscard]] virtual absl::Status Apply(std::span<const float> update, uint64_t parent,
                                           VersionState& version) const;
};

// NOT_FOUND lists the names that there are.
absl::StatusOr<std::unique_ptr<AggregationStrategy>> MakeStrategy(std::string_view name);
// In alphabetical order.
std::vector<std::string> StrategyNames();

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_STRATEGY_H_
