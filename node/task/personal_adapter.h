#ifndef CHOIR_NODE_TASK_PERSONAL_ADAPTER_H_
#define CHOIR_NODE_TASK_PERSONAL_ADAPTER_H_

#include <string>

#include "absl/status/status.h"

namespace choir::node {

// This node's own adapter of a run whose strategy shares A only: the common A of the newest version
// with a B that never leaves the device. One file, adapters/<run>/personal.gguf, readable by its
// owner only: an ordinary adapter to generate and evaluate with, and where the node's B lives from
// round to round. Whoever removes it begins a new one.
class PersonalAdapter {
 public:
  // `folder`: NodeHome::Adapters(). `run_id` is well formed (IsRunId).
  PersonalAdapter(const std::string& folder, const std::string& run_id);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool Exists() const;

  // A round is over for this node: the B of `trained_path`, with the A of `version_path`, which the
  // round started from, until the next version comes. Durable; the same again if called again.
  absl::Status Keep(const std::string& version_path, const std::string& trained_path) const;
  // A new version came: its A. Nothing to do where there is no personal adapter. DATA_LOSS if the
  // two do not belong together.
  absl::Status TakeCommonPart(const std::string& version_path) const;

 private:
  absl::Status Join(const std::string& a_path, const std::string& b_path) const;

  std::string folder_;
  std::string path_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_PERSONAL_ADAPTER_H_
