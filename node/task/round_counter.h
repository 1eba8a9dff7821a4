#ifndef CHOIR_NODE_TASK_ROUND_COUNTER_H_
#define CHOIR_NODE_TASK_ROUND_COUNTER_H_

// The highest session counter that this node ever accepted: a coordinator cannot replay an old
// session.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir::node {

// 0 if there is no file yet. DATA_LOSS if it is damaged: starting again from 0 would allow a
// replay.
absl::StatusOr<uint64_t> ReadRoundCounter(const std::string& path);
// Durable; never goes back (FAILED_PRECONDITION).
absl::Status RaiseRoundCounter(const std::string& path, uint64_t counter);

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_ROUND_COUNTER_H_
