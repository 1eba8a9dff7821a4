#ifndef CHOIR_SECURE_AGG_CLIENT_REGULAR_CHECKS_H_
#define CHOIR_SECURE_AGG_CLIENT_REGULAR_CHECKS_H_

#include <span>

#include "absl/status/status.h"

#include "secure-agg/client/client_state.h"

// Checks of a regular graph's messages, and the parts that they share with the complete graph's.
namespace choir::secagg {

// Size, shape of the graph, every listed entry under the root, and exactly the neighbours that the
// drawn ring gives. kBadGraph, kBadMerklePath, kWrongNeighbour, and those of CheckEntries().
absl::Status CheckRegularKeyList(const ClientSession::State& state, const NeighbourList& list);
// A quorum shared, and each of them with at least t neighbours.
absl::Status CheckRegularDelivery(const ClientSession::State& state,
                                  const NeighbourDelivery& delivery);
// A quorum survived, out of the shareholders; each shareholder has t surviving neighbours (so no
// arc of the ring is cut off); and this node's own input is under the root.
absl::Status CheckRegularSurvivors(const ClientSession::State& state,
                                   const NeighbourSurvivors& message);

absl::Status CheckCohortSize(const ClientSession::State& state, size_t size);
absl::Status CheckEntries(const ClientSession::State& state, const KeyList& list);
// One sealed pair from each of `sharers` but this node, in their order.
absl::Status CheckSharesCover(const ClientSession::State& state, std::span<const NodeId> sharers,
                              std::span<const SealedShare> shares);
absl::Status LeftOutOfShares();
absl::Status LeftOutOfSum(const ClientSession::State& state);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CLIENT_REGULAR_CHECKS_H_
