#include "secure-agg/client/regular_checks.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/merkle.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {
namespace {

absl::Status CheckShape(const GraphShape& shape, const NeighbourList& list) {
  if (list.degree == shape.degree && list.threshold == shape.threshold) return absl::OkStatus();
  return Refusal(
      AbortReason::kBadGraph,
      fmt::format("{} nodes with {} neighbours each and a threshold of {}; the "
                  "configuration gives {} and {}",
                  list.cohort_size, list.degree, list.threshold, shape.degree, shape.threshold));
}

absl::Status CheckPaths(const NeighbourList& list) {
  for (size_t i = 0; i < list.entries.size(); ++i) {
    const NeighbourEntry& entry = list.entries[i];
    if (i > 0 && list.entries[i - 1].place >= entry.place) {
      return Refusal(AbortReason::kRepeatedNode,
                     fmt::format("entry {} of the key list is not behind the one before", i));
    }
    if (RootOf(HashKeyLeaf(entry.place, entry.entry), entry.place, list.cohort_size, entry.path) !=
            list.root &&
        !CHOIR_SEEDED_BUG(22)) {
      return Refusal(AbortReason::kBadMerklePath,
                     fmt::format("entry {} of the key list, place {} of {}, is not under the root",
                                 i, entry.place, list.cohort_size));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNeighbours(const ClientSession::State& state, const GraphShape& shape,
                             const NeighbourList& list) {
  const CohortGraph graph(shape, GraphSeed(HashNeighbourList(state.h0, list)));
  const auto own = std::ranges::find(list.entries, state.self, [](const NeighbourEntry& entry) {
    return entry.entry.keys.node_id;
  });
  std::vector<uint32_t> expected = graph.Neighbours(own->place);
  expected.insert(std::ranges::lower_bound(expected, own->place), own->place);
  if (CHOIR_SEEDED_BUG(23) ||
      std::ranges::equal(list.entries, expected, {}, &NeighbourEntry::place)) {
    return absl::OkStatus();
  }
  return Refusal(AbortReason::kWrongNeighbour,
                 fmt::format("the {} nodes of the key list are not this node and the {} neighbours "
                             "that the drawn graph gives it",
                             list.entries.size(), expected.size() - 1));
}

size_t CountOf(const std::vector<bool>& set) {
  return static_cast<size_t>(std::ranges::count(set, true));
}

}  // namespace

absl::Status CheckRegularKeyList(const ClientSession::State& state, const NeighbourList& list) {
  CHOIR_RETURN_IF_ERROR(CheckCohortSize(state, list.cohort_size));
  const GraphShape shape = ShapeOf(state.config, list.cohort_size);
  CHOIR_RETURN_IF_ERROR(CheckShape(shape, list));
  KeyList entries{list.session_id, {}};
  for (const NeighbourEntry& neighbour : list.entries) entries.entries.push_back(neighbour.entry);
  CHOIR_RETURN_IF_ERROR(CheckEntries(state, entries));
  CHOIR_RETURN_IF_ERROR(CheckPaths(list));
  return CheckNeighbours(state, shape, list);
}

absl::Status CheckRegularDelivery(const ClientSession::State& state,
                                  const NeighbourDelivery& delivery) {
  const std::optional<std::vector<bool>> members =
      UnpackPlaces(delivery.members, state.graph.size());
  if (!members.has_value()) {
    return Refusal(AbortReason::kUnknownMember,
                   fmt::format("{} bytes are no set of shareholders out of {} nodes",
                               delivery.members.size(), state.graph.size()));
  }
  if (!(*members)[state.places[state.index]]) return LeftOutOfShares();
  if (CountOf(*members) < state.needed() || !state.graph.Covers(*members, *members)) {
    return Refusal(
        AbortReason::kTooFewShareholders,
        fmt::format("{} of {} nodes shared; {} are needed, and {} neighbours of each",
                    CountOf(*members), members->size(), state.needed(), state.graph.threshold()));
  }
  std::vector<NodeId> sharers;
  for (uint32_t i = 0; i < state.places.size(); ++i) {
    if ((*members)[state.places[i]]) sharers.push_back(state.IdOf(i));
  }
  return CheckSharesCover(state, sharers, delivery.shares);
}

absl::Status CheckRegularSurvivors(const ClientSession::State& state,
                                   const NeighbourSurvivors& message) {
  const std::optional<std::vector<bool>> survivors =
      UnpackPlaces(message.survivors, state.graph.size());
  bool subset = survivors.has_value();
  for (uint32_t i = 0; subset && i < state.graph.size(); ++i) {
    subset = !(*survivors)[i] || state.cohort_members[i];
  }
  if (!subset) {
    return Refusal(AbortReason::kSurvivorsNotSubset,
                   "the survivors are not all shareholders of this cohort");
  }
  const uint32_t own = state.places[state.index];
  if (!(*survivors)[own]) return LeftOutOfSum(state);
  const size_t count = CountOf(*survivors);
  const auto before = static_cast<uint32_t>(
      std::count(survivors->begin(), survivors->begin() + static_cast<ptrdiff_t>(own), true));
  if (RootOf(HashInputLeaf(before, state.input_hash), before, static_cast<uint32_t>(count),
             message.path) != message.input_root) {
    return Refusal(
        AbortReason::kWrongInputHash,
        fmt::format("this node's input {} is not under the root of the survivors' inputs",
                    DigestToHex(state.input_hash)));
  }
  const bool covered = CHOIR_SEEDED_BUG(27) || state.graph.Covers(state.cohort_members, *survivors);
  if (count < state.needed() || !covered) {
    return Refusal(AbortReason::kTooFewSurvivors,
                   fmt::format("{} inputs arrived; {} are needed, and {} of each node's neighbours",
                               count, state.needed(), state.graph.threshold()));
  }
  return absl::OkStatus();
}

}  // namespace choir::secagg
