#ifndef CHOIR_NODE_TASK_ADAPTER_LIBRARY_H_
#define CHOIR_NODE_TASK_ADAPTER_LIBRARY_H_

// The adapter versions of each run that this node follows: a verified chain, and the newest adapter
// for the owner to use (adapters/<run>/latest.gguf).

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

#include "choir/v1/node.pb.h"
#include "node/task/adapter_chain.h"
#include "node/task/coordinator_client.h"
#include "proto/trust/keys.h"

namespace choir::node {

class AdapterLibrary {
 public:
  AdapterLibrary(std::string folder, trust::PublicKey coordinator_key)
      : folder_(std::move(folder)), coordinator_key_(coordinator_key) {}

  // Gets the versions that are new, checks that they continue what is stored, downloads the newest
  // adapter and stores both. A coordinator that rewrites history is refused, and nothing changes.
  absl::StatusOr<AdapterChain> Sync(CoordinatorClient& client, const std::string& run_id) const;
  // What is stored; an empty chain if nothing is. DATA_LOSS if it does not hold any more.
  absl::StatusOr<AdapterChain> Load(const std::string& run_id) const;
  [[nodiscard]] std::string LatestPath(const std::string& run_id) const;

 private:
  absl::StatusOr<v1::ListAdapterVersionsResponse> LoadListed(const std::string& run_id) const;

  std::string folder_;
  trust::PublicKey coordinator_key_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_ADAPTER_LIBRARY_H_
