#ifndef CHOIR_NODE_TASK_ADAPTER_CHAIN_H_
#define CHOIR_NODE_TASK_ADAPTER_CHAIN_H_

// The signed history of a run's adapter, as the coordinator lists it: checked from its first
// version.

#include <vector>

#include "absl/status/statusor.h"

#include "choir/v1/node.pb.h"
#include "choir/v1/run.pb.h"
#include "proto/trust/keys.h"
#include "secure-agg/core/messages.h"

namespace choir::node {

// A checked chain: versions 0..n without a gap, each naming its parent, and the result of each
// round.
struct AdapterChain {
  std::vector<v1::AdapterVersion> versions;
  std::vector<secagg::RoundResult> results;  // of versions 1..n: one a cohort merged
};

// Checks a whole chain from its first version: signatures, parents, the hash chain of results, and
// that each version is the adapter that its result names. PERMISSION_DENIED or the reason of
// secure-agg.
absl::StatusOr<AdapterChain> CheckAdapterChain(const v1::ListAdapterVersionsResponse& listed,
                                               const trust::PublicKey& coordinator_key);

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_ADAPTER_CHAIN_H_
