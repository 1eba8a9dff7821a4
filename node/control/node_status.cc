#include "node/control/node_status.h"

#include <cmath>

#include <nlohmann/json.hpp>

namespace choir::node {

nlohmann::json ToJson(const NodeStatus& status) {
  return {{"state", status.state},
          {"detail", status.detail},
          {"federation", status.federation},
          {"node_id", status.node_id_hex},
          {"coordinator", status.coordinator},
          {"run", status.run_id},
          {"round", status.round},
          {"step", status.step},
          {"total_steps", status.total_steps},
          {"loss", status.loss},
          {"tokens_per_second", status.tokens_per_second},
          {"rounds_contributed", status.rounds_contributed},
          {"bytes_sent_masked", status.bytes_sent_masked},
          // JSON has no infinity: null means that nothing is promised.
          {"epsilon", std::isfinite(status.epsilon) ? nlohmann::json(status.epsilon)
                                                    : nlohmann::json(nullptr)},
          {"max_epsilon", status.max_epsilon},
          {"adapter_version", status.adapter_version},
          {"manifest_serial", status.manifest_serial},
          {"last_problem", status.last_problem},
          {"last_reason", status.last_reason},
          {"runs_waiting_for_consent", status.runs_waiting_for_consent}};
}

NodeStatus NodeBoard::Read() const {
  const absl::MutexLock lock(&mu_);
  return status_;
}

void NodeBoard::SetPaused(bool paused) {
  const absl::MutexLock lock(&mu_);
  paused_ = paused;
  ++wishes_;
}

bool NodeBoard::paused() const {
  const absl::MutexLock lock(&mu_);
  return paused_;
}

void NodeBoard::AllowRun(const std::string& run_id) {
  const absl::MutexLock lock(&mu_);
  allowed_.insert(run_id);
  ++wishes_;
}

std::vector<std::string> NodeBoard::allowed_runs() const {
  const absl::MutexLock lock(&mu_);
  return {allowed_.begin(), allowed_.end()};
}

void NodeBoard::RequestStop() {
  const absl::MutexLock lock(&mu_);
  stop_ = true;
  ++wishes_;
}

bool NodeBoard::stop_requested() const {
  const absl::MutexLock lock(&mu_);
  return stop_;
}

void NodeBoard::WaitForWish(absl::Duration duration) {
  const absl::MutexLock lock(&mu_);
  const uint64_t before = wishes_;
  const auto changed = [this, before]()
                           ABSL_SHARED_LOCKS_REQUIRED(mu_) { return stop_ || wishes_ != before; };
  mu_.AwaitWithTimeout(absl::Condition(&changed), duration);
}

}  // namespace choir::node
