#ifndef CHOIR_NODE_TASK_TASK_CHECK_H_
#define CHOIR_NODE_TASK_TASK_CHECK_H_

// Checks of what the coordinator offers, before anything is done for it.

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/sha256.h"
#include "choir/v1/node.pb.h"
#include "choir/v1/run.pb.h"
#include "engine/lora/adapter.h"
#include "engine/lora/contribution.h"
#include "secure-agg/core/messages.h"

namespace choir::node {

// 1 to 48 of a-z, 0-9 and '-': what may name a run, and so a folder on this device.
bool IsRunId(std::string_view text);

// An offer whose signatures hold and whose parts fit each other.
struct CheckedTask {
  v1::RoundTask task;
  v1::RunConfig config;
  v1::AdapterVersion version;
  Digest run_config_digest{};
  Digest base_model_digest{};
  Digest adapter_digest{};
  std::optional<Digest> basis_digest{};  // where the contribution needs one
  engine::Contribution contribution = engine::Contribution::kBoth;
};

// Opens the three signed documents with the manifest's coordinator key and checks that they speak
// of one federation, run, adapter and configuration, that the base model is one that the authority
// allows, that values are within what this program can do, and that nothing has expired.
// PERMISSION_DENIED, INVALID_ARGUMENT: the text says which.
absl::StatusOr<CheckedTask> CheckTask(const v1::CheckInResponse::Task& offer,
                                      const v1::Manifest& manifest, absl::Time now);

// The adapter fits the configuration: architecture, targets' ranks, number of values, finite, and
// not both factors of a module zero (which would single out one node's update).
absl::Status CheckTaskAdapter(const CheckedTask& task, const engine::Adapter& adapter);

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_TASK_CHECK_H_
