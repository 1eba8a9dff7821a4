#include "coordinator/round/round_state.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace choir::coordinator {

std::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kSelecting:
      return "selecting";
    case Phase::kTraining:
      return "training";
    case Phase::kAggregating:
      return "aggregating";
    case Phase::kMerging:
      return "merging";
    case Phase::kPublished:
      return "published";
    case Phase::kAbandoned:
      return "abandoned";
  }
  CHOIR_CHECK(false);
}

uint32_t RoundPolicy::Selection(uint32_t free_cohorts) const {
  return static_cast<uint32_t>(
      std::ceil(static_cast<double>(target_cohort) * free_cohorts * (1.0 + over_selection)));
}

uint32_t RoundState::Count(MemberState state) const {
  return static_cast<uint32_t>(std::count_if(
      members.begin(), members.end(), [state](const auto& m) { return m.second.state == state; }));
}

uint32_t RoundState::Count(CohortState state) const {
  return static_cast<uint32_t>(std::count_if(
      cohorts.begin(), cohorts.end(), [state](const Cohort& c) { return c.state == state; }));
}

uint32_t RoundState::Awaited() const {
  return static_cast<uint32_t>(std::ranges::count_if(members, [](const auto& m) {
    return m.second.state == MemberState::kTraining && !m.second.stalled;
  }));
}

uint32_t RoundState::LiveCohorts() const {
  return Count(CohortState::kRunning) + Count(CohortState::kSummed);
}

}  // namespace choir::coordinator
