// What a run's nodes ask for before their session: a task, a sign of life, a cohort.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "coordinator/service/run_actor.h"
#include "coordinator/service/run_plan.h"
#include "engine/lora/contribution.h"
#include "proto/trust/documents.h"

namespace choir::coordinator {
namespace {

constexpr absl::Duration kTaskLife = absl::Hours(24 * 7);
constexpr absl::Duration kLongestReportPause = absl::Seconds(30);

std::string RandomBytes(RandomSource& random, size_t size) {
  std::string out(size, '\0');
  random.Fill({reinterpret_cast<uint8_t*>(out.data()), out.size()});
  return out;
}

}  // namespace

absl::StatusOr<v1::CheckInResponse::Task> RunActor::GiveTask(const NodeId& node) {
  if (!running()) return absl::UnavailableError("the run has ended");
  if (liars_.contains(node)) {
    return absl::UnavailableError("this device lied about shares in an earlier round of the run");
  }
  CHOIR_FAILPOINT("coordinator-check-in-before-commit");
  CHOIR_RETURN_IF_ERROR(Do(CheckIn{node, HexEncode(AsBytes(RandomBytes(context_.random, 16)))}));
  CHOIR_FAILPOINT("coordinator-check-in-after-commit");
  const auto it = round_.members.find(node);
  if (it == round_.members.end()) return absl::UnavailableError("the round has just ended");
  v1::RoundTask task;
  task.set_federation_id(config_.federation_id());
  task.set_run_id(config_.run_id());
  task.set_round(round_.round);
  task.set_run_config_digest(std::string(AsText(config_digest_)));
  task.set_adapter_digest(version_.adapter_digest());
  task.set_adapter_bytes(version_.adapter_bytes());
  task.set_adapter_version(version_.version());
  task.set_trained_factors(
      std::string(engine::ContributionName(strategy_->ContributionFor(version_.version()))));
  task.set_lease_id(it->second.lease_id);
  task.set_not_after_unix_s(absl::ToUnixSeconds(context_.clock.Now() + kTaskLife));
  v1::CheckInResponse::Task answer;
  *answer.mutable_task() =
      trust::SignDocument(context_.federation.coordinator_key, trust::kTaskDomain, task);
  *answer.mutable_run_config() = config_document_;
  *answer.mutable_adapter_version() = version_document_;
  return answer;
}

std::optional<MemberState> RunActor::StateOf(const NodeId& node) const {
  const auto it = round_.members.find(node);
  if (!running() || it == round_.members.end()) return std::nullopt;
  return it->second.state;
}

bool RunActor::Holds(const NodeId& node) const {
  const std::optional<MemberState> state = StateOf(node);
  return state == MemberState::kTraining || state == MemberState::kReady ||
         state == MemberState::kInCohort;
}

void RunActor::Touch(const NodeId& node) {
  if (StateOf(node) != MemberState::kTraining) return;
  if (const absl::Status status = Do(Touched{node}); !status.ok()) {
    spdlog::warn("touch_failed run={} status=\"{}\"", config_.run_id(), status.ToString());
  }
}

absl::StatusOr<v1::ProgressResponse> RunActor::Report(const NodeId& node,
                                                      const v1::ProgressRequest& request) {
  if (request.round() != round_.round || !running()) {
    return absl::AbortedError(fmt::format("round {} is over", request.round()));
  }
  v1::ProgressResponse response;
  response.set_next_report_ms(static_cast<uint32_t>(
      absl::ToInt64Milliseconds(std::min(policy_.lease / 3, kLongestReportPause))));
  if (request.gives_up().empty()) {
    CHOIR_RETURN_IF_ERROR(
        Do(Progress{node, request.lease_id(), request.steps_done(), request.steps_total()}));
    return response;
  }
  // A word of ours, never the node's own text.
  const auto reason = secagg::AbortReasonFromName(request.gives_up());
  CHOIR_RETURN_IF_ERROR(FreePlace(node, request.lease_id(), "node_gave_up",
                                  reason.has_value() ? secagg::AbortReasonName(*reason) : "other"));
  return response;
}

absl::Status RunActor::FreePlace(const NodeId& node, const std::string& lease_id,
                                 std::string_view event, std::string_view reason) {
  const auto it = round_.members.find(node);
  if (it != round_.members.end() && it->second.state == MemberState::kInCohort &&
      it->second.lease_id == lease_id) {
    const auto session = sessions_.find(it->second.cohort);
    if (session == sessions_.end()) return absl::OkStatus();
    session->second->Withdraw(node);
    return Save(*session->second);
  }
  Batch batch;
  Note(batch, fmt::format("{} run={} round={} node={} reason={}", event, config_.run_id(),
                          round_.round, ShortId(node), reason));
  return Do(GiveUp{node, lease_id}, std::move(batch));
}

absl::Status RunActor::Expel(const NodeId& node) {
  if (!Holds(node)) return absl::OkStatus();
  const std::string lease_id = round_.members.at(node).lease_id;
  return FreePlace(node, lease_id, "node_expelled", "revoked");
}

absl::StatusOr<std::optional<std::string>> RunActor::Join(const NodeId& node,
                                                          const v1::JoinCohortRequest& request) {
  if (request.round() != round_.round || !running()) {
    return absl::AbortedError(fmt::format("round {} is over", request.round()));
  }
  CHOIR_RETURN_IF_ERROR(Do(Ready{node, request.lease_id()}));
  const auto it = round_.members.find(node);
  if (request.round() != round_.round || it == round_.members.end()) {
    return absl::AbortedError(fmt::format("round {} is over", request.round()));
  }
  if (it->second.state != MemberState::kInCohort) return std::nullopt;
  const auto session = sessions_.find(it->second.cohort);
  if (session == sessions_.end() || not_durable_.contains(it->second.cohort)) return std::nullopt;
  return std::string(AsChars(secagg::Encode(session->second->config())));
}

}  // namespace choir::coordinator
