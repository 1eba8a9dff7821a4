#ifndef CHOIR_NODE_TASK_KEPT_TRAINING_H_
#define CHOIR_NODE_TASK_KEPT_TRAINING_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/sha256.h"

namespace choir::node {

// What this node trained in the first of a sketch's two rounds, kept for the second
// (engine/lora/sketch.h): the adapter, and how much it was trained on, in adapters/<run>/kept/. It
// belongs to the adapter that training started from, and to no other.
class KeptTraining {
 public:
  // `folder`: NodeHome::Adapters(). `run_id` is well formed (IsRunId).
  KeptTraining(const std::string& folder, const std::string& run_id, const Digest& started_from);

  // Keeps what the worker left in `job_folder`, in place of whatever was kept before. Durable.
  absl::Status Keep(const std::string& job_folder) const;
  // The second round's work without training: writes the right sketch of what was kept, with its
  // result, into `job_folder`, as a worker would. False if nothing is kept for this start.
  absl::StatusOr<bool> Reuse(const std::string& start_path, const std::string& basis_path,
                             const std::string& job_folder) const;
  absl::Status Drop() const;

 private:
  std::string folder_;
  std::string started_from_;  // in hexadecimal
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_KEPT_TRAINING_H_
