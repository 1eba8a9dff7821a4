#ifndef CHOIR_NODE_CONTROL_NODE_STATUS_H_
#define CHOIR_NODE_CONTROL_NODE_STATUS_H_

// What the daemon is doing, and what its owner asked it to do. Shared by the daemon's loop (writes
// the status, reads the wishes) and the control socket (the other way round). Thread-safe.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include <nlohmann/json_fwd.hpp>

namespace choir::node {

struct NodeStatus {
  std::string state =
      "starting";      // starting, idle, fetching, training, paused, waiting, aggregating
  std::string detail;  // for people
  std::string federation;
  std::string node_id_hex;
  std::string coordinator;
  std::string run_id;
  uint64_t round = 0;
  uint32_t step = 0;
  uint32_t total_steps = 0;
  double loss = 0;
  double tokens_per_second = 0;
  uint64_t rounds_contributed = 0;
  uint64_t bytes_sent_masked = 0;
  double epsilon = 0;  // of all that left, from the ledger; infinite once something had no noise
  double max_epsilon = 0;  // the owner's budget; 0: none
  uint64_t adapter_version = 0;
  uint64_t manifest_serial = 0;  // of the manifest that this node goes by
  std::string last_problem;
  std::string last_reason;  // its reason code, if it has one (secure-agg/core/abort_reasons.def)
  std::vector<std::string> runs_waiting_for_consent;
};

nlohmann::json ToJson(const NodeStatus& status);

class NodeBoard {
 public:
  // Calls edit(status) under the lock.
  template <typename Edit>
  void Update(Edit edit) {
    const absl::MutexLock lock(&mu_);
    edit(status_);
  }
  [[nodiscard]] NodeStatus Read() const;

  void SetPaused(bool paused);
  [[nodiscard]] bool paused() const;
  void AllowRun(const std::string& run_id);
  [[nodiscard]] std::vector<std::string> allowed_runs() const;
  void RequestStop();
  [[nodiscard]] bool stop_requested() const;
  // Sleeps at most `duration`; returns early when a wish changes.
  void WaitForWish(absl::Duration duration);

 private:
  mutable absl::Mutex mu_;
  NodeStatus status_ ABSL_GUARDED_BY(mu_);
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::set<std::string> allowed_ ABSL_GUARDED_BY(mu_);
  uint64_t wishes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_CONTROL_NODE_STATUS_H_
