#include "node/task/node_daemon.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/cord.h"
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "node/ledger/ledger.h"
#include "node/policy/device_conditions.h"
#include "node/policy/privacy_policy.h"
#include "node/task/adapter_library.h"
#include "node/task/round_counter.h"
#include "node/task/round_runner.h"
#include "node/task/task_check.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::node {
namespace {

constexpr absl::Duration kConditionsPoll = absl::Seconds(10);
// How long before a run that waits for the owner's consent is looked at again; consent ends the
// wait.
constexpr absl::Duration kConsentPoll = absl::Minutes(1);
// How often manifest and certificate are looked after, work or none.
constexpr absl::Duration kUpkeepEvery = absl::Minutes(10);
constexpr absl::Duration kFirstRetry = absl::Milliseconds(500);
constexpr absl::Duration kLastRetry = absl::Minutes(5);
// Certificates last a month; the last third of that is time enough to renew.
constexpr absl::Duration kRenewBefore = absl::Hours(10 * 24);

void ShowLedger(const Ledger& ledger, const OwnerPolicy& policy, NodeStatus& board) {
  board.rounds_contributed = 0;
  board.bytes_sent_masked = 0;
  for (const Departure& departure : ledger.departures()) {
    board.rounds_contributed += departure.in_the_sum ? 1 : 0;
    board.bytes_sent_masked += departure.masked_bytes;
  }
  board.epsilon = privacy::EpsilonOf(ledger.Spent(), policy.delta);
  board.max_epsilon = policy.max_epsilon;
}

}  // namespace

NodeDaemon::NodeDaemon(Parts parts)
    : parts_(std::move(parts)),
      work_(parts_.home.Work()),
      models_(parts_.policy.model_paths, parts_.home.Models()) {
  Connect();
  parts_.board.Update([this](NodeStatus& status) {
    status.federation = parts_.identity.federation_name();
    status.node_id_hex = HexEncode(AsBytes(parts_.identity.node_id()));
    status.coordinator = parts_.identity.coordinator_address();
    status.manifest_serial = parts_.identity.manifest().serial();
  });
}

void NodeDaemon::Connect() {
  auto client = std::make_unique<CoordinatorClient>(
      parts_.identity.coordinator_address(), parts_.identity.root_pem(), parts_.identity.tls());
  const absl::MutexLock lock(&client_mu_);
  client_ = std::move(client);
}

void NodeDaemon::CancelCalls() {
  const absl::MutexLock lock(&client_mu_);
  client_->Cancel();
}

bool NodeDaemon::Sleep(absl::Duration duration) {
  if (duration > absl::ZeroDuration() && !parts_.board.stop_requested()) {
    parts_.board.WaitForWish(duration);
  }
  return !parts_.board.stop_requested();
}

absl::Status NodeDaemon::AllowedNow() {
  if (parts_.board.paused()) return absl::UnavailableError("paused by the owner");
  return AllowsNow(parts_.policy, ReadDeviceConditions());
}

absl::StatusOr<v1::CheckInResponse> NodeDaemon::AskForTask() {
  for (const std::string& problem : models_.Refresh()) spdlog::warn("{}", problem);
  const DeviceConditions conditions = ReadDeviceConditions();
  v1::CheckInRequest request;
  request.set_device_class(conditions.battery_percent.has_value() ? "portable" : "pc");
  request.set_free_memory_bytes(
      parts_.policy.max_memory_bytes != 0
          ? std::min(parts_.policy.max_memory_bytes, conditions.free_memory_bytes)
          : conditions.free_memory_bytes);
  for (const Digest& digest : models_.digests()) {
    request.add_base_model_digests(std::string(AsChars(digest)));
  }
  request.add_backends(parts_.policy.backend);
  request.set_version(parts_.version);
  return client_->CheckIn(request);
}

// What became of a round, for the owner and the log.
void NodeDaemon::Note(const absl::Status& status) {
  if (status.ok()) {
    spdlog::info("round_contributed");
  } else {
    spdlog::warn("round_ended reason={} text=\"{}\"",
                 secagg::ReasonOf(status).has_value()
                     ? secagg::AbortReasonName(*secagg::ReasonOf(status))
                     : "other",
                 std::string(status.message()));
  }
  const absl::StatusOr<Ledger> ledger = Ledger::Open(parts_.home.Ledger());
  parts_.board.Update([&](NodeStatus& board) {
    if (!status.ok()) SetProblem(board, status);
    if (ledger.ok()) ShowLedger(*ledger, parts_.policy, board);
    board.state = "idle";
    board.detail.clear();
    board.step = 0;
    board.total_steps = 0;
  });
}

void NodeDaemon::KeepUpToDate(const std::string& run_id) {
  const absl::StatusOr<trust::PublicKey> key =
      trust::PublicKeyFrom(AsBytes(parts_.identity.manifest().coordinator_key()));
  if (!key.ok()) return;
  const AdapterLibrary library(parts_.home.Adapters(), *key);
  const absl::StatusOr<AdapterChain> chain = library.Sync(*client_, run_id);
  if (!chain.ok()) {
    spdlog::warn("adapter_sync run={} problem=\"{}\"", run_id, chain.status().ToString());
    if (secagg::ReasonOf(chain.status()).has_value()) {
      parts_.board.Update([&](NodeStatus& status) { SetProblem(status, chain.status()); });
    }
    return;
  }
  if (chain->versions.empty()) return;
  const uint64_t version = chain->versions.back().version();
  parts_.board.Update([version](NodeStatus& status) { status.adapter_version = version; });
}

void NodeDaemon::RenewIfDue() {
  const absl::Time now = parts_.clock.Now();
  if (now < next_upkeep_) return;
  next_upkeep_ = now + kUpkeepEvery;
  const absl::StatusOr<v1::SignedDocument> manifest = client_->GetManifest();
  absl::Status taken = manifest.status();
  if (manifest.ok()) taken = parts_.identity.Update(parts_.home, &*manifest, nullptr, now);
  parts_.board.Update(
      [this](NodeStatus& board) { board.manifest_serial = parts_.identity.manifest().serial(); });
  const bool certificate_is_due = parts_.identity.certificate_not_after() - now < kRenewBefore;
  if (taken.ok() && !certificate_is_due) return;
  // A manifest may name another enrolment key: then it comes with a certificate of that key, or not
  // at all.
  const absl::StatusOr<v1::RenewedMembership> renewed = client_->RenewCertificate();
  taken = renewed.status();
  if (renewed.ok()) {
    taken =
        parts_.identity.Update(parts_.home, manifest.ok() ? &*manifest : nullptr, &*renewed, now);
  }
  if (taken.ok()) {
    Connect();
  } else {
    spdlog::warn("membership_not_renewed text=\"{}\"", taken.ToString());
  }
}

absl::Status NodeDaemon::Work(const v1::CheckInResponse::Task& offer) {
  RenewIfDue();
  const RoundParts round{.home = parts_.home,
                         .identity = parts_.identity,
                         .policy = parts_.policy,
                         .client = *client_,
                         .models = models_,
                         .board = parts_.board,
                         .clock = parts_.clock,
                         .random = parts_.random,
                         .program = parts_.program,
                         .sleep = [this](absl::Duration d) { return Sleep(d); },
                         .allowed_now = [this] { return AllowedNow(); }};
  const absl::Status status = RoundRunner(round).Run(offer);
  if (absl::IsCancelled(status) && !secagg::ReasonOf(status).has_value()) return absl::OkStatus();
  Note(status);
  v1::RoundTask task;
  if (task.ParseFromString(offer.task().body())) KeepUpToDate(task.run_id());
  if (status.ok() || absl::IsAborted(status)) return absl::OkStatus();
  // The same work would be offered at once, and fail again: Loop() waits longer each time.
  absl::Status failed = absl::FailedPreconditionError(
      fmt::format("the round failed on this node: {}", std::string(status.message())));
  status.ForEachPayload(
      [&failed](auto type, const absl::Cord& value) { failed.SetPayload(type, value); });
  return failed;
}

// Frees the place that was kept for this node, so that a round need not wait for its owner.
void NodeDaemon::Decline(const CheckedTask& checked, const absl::Status& why) {
  v1::ProgressRequest request;
  request.set_run_id(checked.config.run_id());
  request.set_round(checked.task.round());
  request.set_lease_id(checked.task.lease_id());
  const std::optional<secagg::AbortReason> reason = secagg::ReasonOf(why);
  request.set_gives_up(reason.has_value() ? std::string(secagg::AbortReasonName(*reason))
                                          : "not-allowed-by-owner");
  if (const absl::Status told = client_->ReportProgress(request).status(); !told.ok()) {
    spdlog::warn("decline_not_told text=\"{}\"", told.ToString());
  }
}

absl::Status NodeDaemon::CheckIn() {
  CHOIR_ASSIGN_OR_RETURN(const v1::CheckInResponse answer, AskForTask());
  if (answer.manifest_serial() > parts_.identity.manifest().serial()) {
    // What the task is checked against must be the newest.
    next_upkeep_ = absl::InfinitePast();
    RenewIfDue();
  }
  if (!answer.has_task()) {
    parts_.board.Update([&answer](NodeStatus& status) {
      status.state = "idle";
      status.detail = answer.reason();
    });
    Sleep(absl::Milliseconds(std::clamp(answer.come_back_after_ms(), 50u, 3600000u)));
    return absl::OkStatus();
  }
  CHOIR_ASSIGN_OR_RETURN(const CheckedTask checked,
                         CheckTask(answer.task(), parts_.identity.manifest(), parts_.clock.Now()));
  absl::Status allowed = AllowsRun(parts_.policy, checked.config, parts_.board.allowed_runs());
  const bool consented = allowed.ok();
  if (allowed.ok()) {
    CHOIR_ASSIGN_OR_RETURN(const Ledger ledger, Ledger::Open(parts_.home.Ledger()));
    allowed = AllowsPrivacy(parts_.policy, checked.config.privacy(), ledger.Spent());
  }
  if (!allowed.ok()) {
    parts_.board.Update([&](NodeStatus& status) {
      status.detail = std::string(allowed.message());
      if (consented) return;
      auto& waiting = status.runs_waiting_for_consent;
      if (std::find(waiting.begin(), waiting.end(), checked.config.run_id()) == waiting.end()) {
        waiting.push_back(checked.config.run_id());
      }
    });
    Decline(checked, allowed);
    Sleep(kConsentPoll);
    return absl::OkStatus();
  }
  CHOIR_RETURN_IF_ERROR(work_.Begin(answer.task()));
  CHOIR_FAILPOINT("node-task-saved");
  return Work(answer.task());
}

absl::Status NodeDaemon::Run() {
  CHOIR_RETURN_IF_ERROR(MakeDirectories(parts_.home.Models(), 0700));
  CHOIR_RETURN_IF_ERROR(MakeDirectories(parts_.home.Adapters(), 0700));
  // Without it this node could be led into an old session: better not to work at all.
  CHOIR_RETURN_IF_ERROR(ReadRoundCounter(parts_.home.RoundCounter()).status());
  // Nor without knowing what has left it.
  CHOIR_ASSIGN_OR_RETURN(const Ledger ledger, Ledger::Open(parts_.home.Ledger()));
  parts_.board.Update([&](NodeStatus& board) { ShowLedger(ledger, parts_.policy, board); });
  // A stop must end a long poll, too.
  std::thread watcher([this] {
    while (!parts_.board.stop_requested()) parts_.board.WaitForWish(absl::Hours(1));
    CancelCalls();
  });
  absl::Status status = Loop();
  parts_.board.RequestStop();
  watcher.join();
  return status;
}

absl::Status NodeDaemon::Loop() {
  absl::Duration pause = kFirstRetry;
  while (!parts_.board.stop_requested()) {
    CHOIR_ASSIGN_OR_RETURN(const std::optional<v1::CheckInResponse::Task> work, work_.Load());
    const absl::Status status = work.has_value() ? Work(*work) : LookForWork();
    if (status.ok()) {
      pause = kFirstRetry;
      continue;
    }
    if (parts_.board.stop_requested()) break;
    spdlog::warn("check_in_failed text=\"{}\" retry_in_ms={}", std::string(status.message()),
                 absl::ToInt64Milliseconds(pause));
    parts_.board.Update([&status](NodeStatus& board) {
      board.state = "idle";
      SetProblem(board, status);
    });
    Sleep(pause);
    pause = std::min(2 * pause, kLastRetry);
  }
  return absl::OkStatus();
}

absl::Status NodeDaemon::LookForWork() {
  RenewIfDue();
  const absl::Status allowed = AllowedNow();
  if (allowed.ok()) return CheckIn();
  parts_.board.Update([&allowed](NodeStatus& board) {
    board.state = "paused";
    board.detail = std::string(allowed.message());
  });
  Sleep(kConditionsPoll);
  return absl::OkStatus();
}

}  // namespace choir::node
