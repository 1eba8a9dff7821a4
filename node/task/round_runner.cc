#include "node/task/round_runner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/latent.h"
#include "engine/lora/sketch.h"
#include "node/ledger/ledger.h"
#include "node/policy/privacy_policy.h"
#include "node/task/adapter_library.h"
#include "node/task/blob_fetcher.h"
#include "node/task/kept_training.h"
#include "node/task/personal_adapter.h"
#include "node/task/round_counter.h"
#include "node/task/session_driver.h"
#include "node/worker/worker_process.h"
#include "proto/trust/privacy_terms.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/result_chain.h"

namespace choir::node {
namespace {

constexpr absl::Duration kWorkerGrace = absl::Seconds(20);  // to write its checkpoint
constexpr absl::Duration kWorkerPoll = absl::Milliseconds(100);
constexpr absl::Duration kConditionsPoll = absl::Seconds(5);
constexpr int kWorkerTries = 3;
constexpr absl::Duration kFirstRetry = absl::Milliseconds(200);
constexpr absl::Duration kLastRetry = absl::Seconds(10);

// Repeats a call that fails in passing, with growing pauses. CANCELLED when the daemon is to stop.
absl::Status Insist(const std::function<bool(absl::Duration)>& sleep,
                    const std::function<absl::Status()>& attempt) {
  absl::Duration pause = kFirstRetry;
  for (;;) {
    absl::Status status = attempt();
    if (status.ok() || !IsPassing(status)) return status;
    if (!sleep(pause)) return absl::CancelledError("stopping");
    pause = std::min(2 * pause, kLastRetry);
  }
}

// A download whose bytes are not those of its name: somebody lies, or a disk does.
absl::Status NotAsNamed(const absl::Status& fetched, secagg::AbortReason reason) {
  if (!absl::IsDataLoss(fetched)) return fetched;
  return secagg::Refusal(absl::StatusCode::kDataLoss, reason, std::string(fetched.message()));
}

// Micro-batches that the rounds before this version have used.
uint64_t MicroBatchesBefore(const CheckedTask& task) {
  const v1::TrainingSpec& training = task.config.training();
  // Of a sketch's two versions one is trained for.
  const bool sketches = task.contribution == engine::Contribution::kSketchLeft ||
                        task.contribution == engine::Contribution::kSketchRight;
  const uint64_t trained = task.task.adapter_version() / (sketches ? 2 : 1);
  return trained * training.local_steps() * training.batch();
}

// Of dropout masks: the node's own in each version, and the same after a restart.
uint64_t DropoutSeed(const CheckedTask& task, std::string_view node_id) {
  Sha256 hash;
  hash.Update(std::string_view("choir/dropout/v1"));
  hash.UpdateU64(task.config.training().seed());
  hash.UpdateU64(task.task.adapter_version());
  hash.Update(node_id);
  const Digest digest = hash.Finish();
  uint64_t seed = 0;
  std::memcpy(&seed, digest.data(), sizeof(seed));
  return seed;
}

// What AllowsRun cannot know before the adapter is here: some contributions are longer than it.
absl::Status CheckUpload(const OwnerPolicy& policy, const CheckedTask& task,
                         const engine::Adapter& adapter) {
  const uint64_t upload = engine::ContributionLength(adapter, task.contribution) *
                          task.config.aggregation().ring_bits() / 8;
  if (policy.max_upload_bytes == 0 || upload <= policy.max_upload_bytes) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("this round uploads {} bytes, this device allows {} (max_upload_mib)", upload,
                  policy.max_upload_bytes));
}

}  // namespace

void SetProblem(NodeStatus& board, const absl::Status& status) {
  const std::optional<secagg::AbortReason> reason = secagg::ReasonOf(status);
  board.last_problem = std::string(status.message());
  board.last_reason =
      reason.has_value() ? std::string(secagg::AbortReasonName(*reason)) : std::string();
}

RoundRunner::RoundRunner(const RoundParts& parts) : parts_(parts), work_(parts.home.Work()) {}

void RoundRunner::Show(const char* state, const std::string& detail) {
  parts_.board.Update([&](NodeStatus& status) {
    status.state = state;
    status.detail = detail;
    status.run_id = task_.config.run_id();
    status.round = task_.task.round();
  });
}

absl::Status RoundRunner::Run(const v1::CheckInResponse::Task& offer) {
  absl::StatusOr<CheckedTask> checked =
      CheckTask(offer, parts_.identity.manifest(), parts_.clock.Now());
  absl::Status status = checked.status();
  if (checked.ok()) {
    task_ = *std::move(checked);
    status = RunChecked();
  }
  if (absl::IsCancelled(status) && !secagg::ReasonOf(status).has_value()) return status;
  if (checked.ok() && !status.ok() && !absl::IsAborted(status)) GiveUp(status);
  CHOIR_FAILPOINT("node-round-over");
  CHOIR_RETURN_IF_ERROR(work_.Finish());
  return status;
}

// So that nobody waits for this node. If the word does not arrive, the lease runs out.
void RoundRunner::GiveUp(const absl::Status& why) {
  const std::optional<secagg::AbortReason> reason = secagg::ReasonOf(why);
  v1::ProgressRequest request;
  request.set_run_id(task_.config.run_id());
  request.set_round(task_.task.round());
  request.set_lease_id(task_.task.lease_id());
  // Never the message: it may name the owner's files.
  request.set_gives_up(reason.has_value() ? std::string(secagg::AbortReasonName(*reason))
                                          : absl::StatusCodeToString(why.code()));
  if (const absl::Status told = parts_.client.ReportProgress(request).status(); !told.ok()) {
    spdlog::warn("give_up_not_told text=\"{}\"", told.ToString());
  }
}

absl::Status RoundRunner::RunChecked() {
  CHOIR_RETURN_IF_ERROR(AllowsRun(parts_.policy, task_.config, parts_.board.allowed_runs()));
  // In a session the owner was asked already, and what left may have used the budget up.
  CHOIR_ASSIGN_OR_RETURN(const auto journal, work_.LoadJournal());
  if (!journal.has_value()) {
    CHOIR_ASSIGN_OR_RETURN(const Ledger ledger, Ledger::Open(parts_.home.Ledger()));
    CHOIR_RETURN_IF_ERROR(AllowsPrivacy(parts_.policy, task_.config.privacy(), ledger.Spent()));
  }
  CHOIR_RETURN_IF_ERROR(Fetch());
  CHOIR_FAILPOINT("node-fetched");
  CHOIR_RETURN_IF_ERROR(Train());
  CHOIR_FAILPOINT("node-trained");
  return Aggregate();
}

absl::Status RoundRunner::Fetch() {
  Show("fetching", "adapter");
  if (!work_.HasAdapter()) {
    CHOIR_RETURN_IF_ERROR(Insist(parts_.sleep, [this] {
      return NotAsNamed(
          FetchBlobToFile(parts_.client, task_.adapter_digest, task_.task.adapter_bytes(),
                          work_.AdapterPath(), [](uint64_t, uint64_t) {}),
          secagg::AbortReason::kAdapterMismatch);
    }));
  }
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter,
                         engine::ReadGgufAdapter(work_.AdapterPath()));
  CHOIR_RETURN_IF_ERROR(CheckTaskAdapter(task_, adapter));
  CHOIR_RETURN_IF_ERROR(CheckUpload(parts_.policy, task_, adapter));
  if (task_.basis_digest.has_value()) CHOIR_RETURN_IF_ERROR(FetchBasis(adapter));
  return FetchModel();
}

// The basis is checked as the adapter is: one with hidden directions would silence this node, or
// all others.
absl::Status RoundRunner::FetchBasis(const engine::Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(Insist(parts_.sleep, [this] {
    return NotAsNamed(
        FetchBlobToFile(parts_.client, *task_.basis_digest, task_.version.basis_bytes(),
                        work_.BasisPath(), [](uint64_t, uint64_t) {}),
        secagg::AbortReason::kAdapterMismatch);
  }));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter basis, engine::ReadGgufAdapter(work_.BasisPath()));
  return task_.contribution == engine::Contribution::kCore
             ? engine::CheckBasis(basis, adapter)
             : engine::CheckSketchBasis(basis, adapter);
}

absl::Status RoundRunner::FetchModel() {
  parts_.models.Refresh();
  if (parts_.models.Find(task_.base_model_digest).has_value()) return absl::OkStatus();
  const uint64_t size = task_.config.base_model_bytes();
  CHOIR_RETURN_IF_ERROR(Insist(parts_.sleep, [this, size] {
    const auto show = [this](uint64_t done, uint64_t total) {
      Show("fetching", fmt::format("base model, {} of {} MiB", done >> 20, total >> 20));
    };
    return NotAsNamed(FetchBlobToFile(parts_.client, task_.base_model_digest, size,
                                      parts_.models.DownloadPath(task_.base_model_digest), show),
                      secagg::AbortReason::kBaseMismatch);
  }));
  parts_.models.Refresh();
  return absl::OkStatus();
}

absl::StatusOr<Job> RoundRunner::MakeJob() const {
  const std::optional<std::string> model = parts_.models.Find(task_.base_model_digest);
  if (!model.has_value()) return absl::NotFoundError("the base model is gone");
  const v1::TrainingSpec& training = task_.config.training();
  const bool windows = training.packing() == "windows";
  Job job;
  job.model_path = *model;
  job.adapter_path = work_.AdapterPath();
  if (task_.basis_digest.has_value()) job.basis_path = work_.BasisPath();
  job.data_folder = parts_.policy.data_folder;
  job.contribution = task_.task.trained_factors();
  job.adapter_version = task_.task.adapter_version();
  if (task_.contribution == engine::Contribution::kSharedA) {
    const PersonalAdapter personal(parts_.home.Adapters(), task_.config.run_id());
    if (personal.Exists()) job.personal_path = personal.path();
  }
  job.local_steps = training.local_steps();
  job.local_epochs = training.local_epochs();
  job.learning_rate = training.learning_rate();
  job.weight_decay = training.weight_decay();
  job.context_tokens = training.context_tokens();
  job.batch = training.batch();
  job.max_gradient_norm = training.max_gradient_norm();
  job.lora_dropout = static_cast<double>(task_.config.lora().dropout());
  job.dropout_seed = DropoutSeed(task_, parts_.identity.node_id());
  job.proximal_mu = double{training.proximal_mu()};
  ChooseWindow(job);
  job.packing = training.packing().empty() ? "packed" : training.packing();
  job.train_on = training.train_on().empty() ? "all" : training.train_on();
  job.compute = training.compute().empty() ? "auto" : training.compute();
  // Windows are read in order, on from the last version; documents are shuffled anew each version.
  job.seed = training.seed() + (windows ? 0 : task_.task.adapter_version());
  job.skip_micro_batches = windows ? MicroBatchesBefore(task_) : 0;
  job.backend = parts_.policy.backend;
  job.threads = parts_.policy.threads;
  job.niceness = parts_.policy.niceness;
  job.cache_dir = parts_.home.Cache();
  job.max_memory_bytes = parts_.policy.max_memory_bytes;
  return job;
}

// Which components this device trains, if not all. Drawn anew for each round and told to nobody; a
// restart goes on with the one that the job has.
void RoundRunner::ChooseWindow(Job& job) const {
  const uint32_t components = task_.config.aggregation().slice_components();
  const uint32_t most = parts_.policy.max_rank;
  if (components == 0 || most == 0 || most >= components) return;
  const absl::StatusOr<Job> before = ReadJob(work_.JobPath());
  uint32_t drawn = 0;
  if (before.ok() && before->window_of == components) {
    drawn = before->window_first;
  } else {
    std::array<uint8_t, 4> bytes{};
    parts_.random.Fill(bytes);
    std::memcpy(&drawn, bytes.data(), sizeof(drawn));
  }
  job.window_first = drawn % components;
  job.window_count = before.ok() && before->window_of == components ? before->window_count : most;
  job.window_of = components;
}

// The strategy's slots: this node's examples, as far as they count, for each component it trained.
absl::StatusOr<std::vector<double>> RoundRunner::Slots(uint64_t examples) const {
  const v1::AggregationSpec& spec = task_.config.aggregation();
  std::vector<double> slots(spec.slice_components());
  if (slots.empty()) return slots;
  CHOIR_ASSIGN_OR_RETURN(const Job job, ReadJob(work_.JobPath()));
  const double counted =
      std::min(static_cast<double>(examples), std::round(double{spec.max_examples_weight()}));
  for (uint32_t j = 0; j < slots.size(); ++j) {
    const bool trained = job.window_of == 0 ||
                         (j + job.window_of - job.window_first) % job.window_of < job.window_count;
    if (trained) slots[j] = counted;
  }
  return slots;
}

absl::Status RoundRunner::Train() {
  if (ReadJobResult(work_.JobPath()).ok()) return absl::OkStatus();
  if (task_.contribution == engine::Contribution::kSketchRight) {
    CHOIR_ASSIGN_OR_RETURN(const bool reused,
                           Kept().Reuse(work_.AdapterPath(), work_.BasisPath(), work_.JobPath()));
    if (reused) return absl::OkStatus();
  }
  CHOIR_ASSIGN_OR_RETURN(const Job job, MakeJob());
  CHOIR_RETURN_IF_ERROR(WriteJob(work_.JobPath(), job));
  // A worker that is killed (memory, a lost device) goes on from its checkpoint, but not for ever.
  absl::Status status;
  for (int i = 0; i < kWorkerTries; ++i) {
    status = RunWorker();
    if (status.ok() || !absl::IsUnavailable(status)) return status;
    spdlog::warn("worker_died run={} round={} try={} problem=\"{}\"", task_.config.run_id(),
                 task_.task.round(), i + 1, std::string(status.message()));
  }
  return absl::InternalError(
      fmt::format("training failed {} times: {}", kWorkerTries, std::string(status.message())));
}

absl::Status RoundRunner::KeepLease(const JobProgress& progress, absl::Time& next_report) {
  const absl::Time now = absl::Now();
  parts_.board.Update([&progress](NodeStatus& status) {
    status.step = progress.step;
    status.total_steps = progress.total_steps;
    status.loss = progress.loss;
    status.tokens_per_second = progress.tokens_per_second;
  });
  if (now < next_report) return absl::OkStatus();
  v1::ProgressRequest request;
  request.set_run_id(task_.config.run_id());
  request.set_round(task_.task.round());
  request.set_lease_id(task_.task.lease_id());
  request.set_steps_done(progress.step);
  request.set_steps_total(progress.total_steps);
  const absl::StatusOr<v1::ProgressResponse> answer = parts_.client.ReportProgress(request);
  if (!answer.ok() && !IsPassing(answer.status())) return answer.status();
  next_report = now + absl::Milliseconds(
                          answer.ok() ? std::clamp(answer->next_report_ms(), 200u, 60000u) : 1000);
  return absl::OkStatus();
}

absl::Status RoundRunner::RunWorker() {
  for (absl::Status allowed = parts_.allowed_now(); !allowed.ok(); allowed = parts_.allowed_now()) {
    Show("paused", std::string(allowed.message()));
    if (!parts_.sleep(kConditionsPoll)) return absl::CancelledError("stopping");
  }
  Show("training", "");
  CHOIR_ASSIGN_OR_RETURN(WorkerProcess worker,
                         WorkerProcess::Start(parts_.program, work_.JobPath()));
  absl::Time next_report = absl::InfinitePast();
  absl::Time kill_at = absl::InfiniteFuture();
  bool stopping = false;
  for (;;) {
    const std::optional<JobProgress> progress = worker.WaitForProgress(kWorkerPoll);
    if (progress.has_value()) {
      CHOIR_FAILPOINT("node-training");
      CHOIR_RETURN_IF_ERROR(KeepLease(*progress, next_report));
    }
    if (const std::optional<WorkerExit> exit = worker.Poll(); exit.has_value()) {
      if (exit->finished) return absl::OkStatus();
      if (exit->stopped) return stopping ? absl::CancelledError("stopping") : RunWorker();
      return exit->problem.starts_with("killed") ? absl::UnavailableError(exit->problem)
                                                 : absl::FailedPreconditionError(exit->problem);
    }
    stopping = stopping || !parts_.sleep(absl::ZeroDuration());
    if ((stopping || !parts_.allowed_now().ok()) && kill_at == absl::InfiniteFuture()) {
      worker.AskToStop();
      kill_at = absl::Now() + kWorkerGrace;
    }
    if (absl::Now() > kill_at) worker.Kill();
  }
}

absl::StatusOr<std::string> RoundRunner::WaitForCohort() {
  v1::JoinCohortRequest request;
  request.set_run_id(task_.config.run_id());
  request.set_round(task_.task.round());
  request.set_lease_id(task_.task.lease_id());
  for (;;) {
    Show("waiting", "for a cohort");
    v1::JoinCohortResponse answer;
    CHOIR_RETURN_IF_ERROR(Insist(parts_.sleep, [&]() -> absl::Status {
      absl::StatusOr<v1::JoinCohortResponse> joined = parts_.client.JoinCohort(request);
      if (joined.ok()) answer = *std::move(joined);
      return joined.status();
    }));
    CHOIR_FAILPOINT("node-joined");
    if (!answer.session_config().empty()) return answer.session_config();
    if (!parts_.sleep(absl::Milliseconds(std::min(answer.wait_ms(), 20000u)))) {
      return absl::CancelledError("stopping");
    }
  }
}

absl::StatusOr<secagg::ClientSession> RoundRunner::StartSession(
    const std::string& config, const secagg::Signer& signer,
    const secagg::DeviceVerifier& verifier) {
  secagg::ClientPolicyOptions options;
  options.min_cohort = parts_.policy.min_cohort;
  options.min_noise_multiplier = parts_.policy.min_noise_multiplier;
  options.distributed_noise_only = parts_.policy.noise == "distributed";
  options.min_corrupt_percent = parts_.policy.min_corrupt_percent;
  CHOIR_ASSIGN_OR_RETURN(const secagg::ClientPolicy policy, secagg::ClientPolicy::Create(options));
  CHOIR_ASSIGN_OR_RETURN(
      const trust::PublicKey coordinator_key,
      trust::PublicKeyFrom(AsBytes(parts_.identity.manifest().coordinator_key())));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter,
                         engine::ReadGgufAdapter(work_.AdapterPath()));
  secagg::ClientContext context;
  context.self = parts_.identity.node_id();
  context.coordinator_key = coordinator_key;
  context.federation_id = parts_.identity.manifest().federation_id();
  context.run_id = task_.config.run_id();
  context.round = task_.task.round();
  context.base_hash = task_.base_model_digest;
  context.adapter_hash = task_.adapter_digest;
  context.lora_digest = trust::WorkDigest(
      task_.run_config_digest, task_.task.trained_factors(),
      task_.basis_digest.has_value() ? AsChars(*task_.basis_digest) : std::string_view());
  context.delta_length = engine::ContributionLength(adapter, task_.contribution);
  CHOIR_ASSIGN_OR_RETURN(context.last_round_counter, ReadRoundCounter(parts_.home.RoundCounter()));
  context.now = parts_.clock.Now();
  CHOIR_ASSIGN_OR_RETURN(context.privacy, trust::SessionPrivacyOf(task_.config.privacy()));
  SecretBytes<32> seed;
  parts_.random.Fill(seed.ExposeMutable());
  CHOIR_ASSIGN_OR_RETURN(secagg::ClientSession session,
                         secagg::ClientSession::Start(AsBytes(config), context, policy, signer,
                                                      verifier, std::move(seed)));
  CHOIR_ASSIGN_OR_RETURN(const Ledger ledger, Ledger::Open(parts_.home.Ledger()));
  CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve cost, CostOfConfig(AsBytes(config)));
  CHOIR_RETURN_IF_ERROR(FitsBudget(parts_.policy, ledger.Spent(), cost));
  // The journal first: a node that dies between the two goes on with these keys, instead of
  // refusing its own session as a replayed one.
  CHOIR_RETURN_IF_ERROR(work_.SaveJournal(session.Snapshot().Expose()));
  CHOIR_FAILPOINT("node-session-journal-begun");
  CHOIR_RETURN_IF_ERROR(RaiseRoundCounter(parts_.home.RoundCounter(), session.round_counter()));
  CHOIR_FAILPOINT("node-session-started");
  return session;
}

absl::StatusOr<secagg::ClientSession> RoundRunner::OpenSession(
    const secagg::Signer& signer, const secagg::DeviceVerifier& verifier) {
  CHOIR_ASSIGN_OR_RETURN(const std::optional<std::vector<uint8_t>> journal, work_.LoadJournal());
  if (journal.has_value()) {
    CHOIR_ASSIGN_OR_RETURN(secagg::ClientSession session,
                           secagg::ClientSession::Restore(*journal, signer, verifier));
    CHOIR_RETURN_IF_ERROR(RaiseRoundCounter(parts_.home.RoundCounter(), session.round_counter()));
    return session;
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string config, WaitForCohort());
  return StartSession(config, signer, verifier);
}

// Sends the delta through sessions until one has it, or none may any more.
absl::Status RoundRunner::Aggregate() {
  const trust::SessionSigner signer(parts_.identity.device_key());
  const trust::SessionVerifier verifier(parts_.identity.manifest(), parts_.clock.Now());
  CHOIR_ASSIGN_OR_RETURN(const JobResult result, ReadJobResult(work_.JobPath()));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> delta, ReadJobDelta(work_.JobPath()));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<double> slots, Slots(result.examples));
  const secagg::ClientValues values{.delta = delta,
                                    .examples = result.examples,
                                    .loss_sum = result.loss_sum,
                                    .token_count = result.tokens,
                                    .extras = slots};
  for (;;) {
    CHOIR_ASSIGN_OR_RETURN(secagg::ClientSession session, OpenSession(signer, verifier));
    const std::string session_hex = HexEncode(session.session_id());
    Show("aggregating", session_hex);
    SessionDriver driver(
        parts_.client, work_, values, static_cast<size_t>(parts_.policy.threads), parts_.sleep,
        [this](const auto& ready, const auto& header) { return NoteDeparture(ready, header); });
    CHOIR_ASSIGN_OR_RETURN(const SessionOutcome outcome, driver.Run(std::move(session)));
    if (outcome.input_spent) return Settle(session_hex, outcome);
    const bool may_try_again = absl::IsAborted(outcome.ended);
    if (!may_try_again) return outcome.ended;
    spdlog::info("session_over run={} round={} reason=\"{}\"", task_.config.run_id(),
                 task_.task.round(), std::string(outcome.ended.message()));
    parts_.board.Update([&outcome](NodeStatus& status) { SetProblem(status, outcome.ended); });
    CHOIR_RETURN_IF_ERROR(work_.DropJournal());
  }
}

KeptTraining RoundRunner::Kept() const {
  return KeptTraining(parts_.home.Adapters(), task_.config.run_id(), task_.adapter_digest);
}

// What of this round's training the next ones need, and nobody else may see.
absl::Status RoundRunner::KeepForLater() const {
  switch (task_.contribution) {
    case engine::Contribution::kSharedA:
      return PersonalAdapter(parts_.home.Adapters(), task_.config.run_id())
          .Keep(work_.AdapterPath(), TrainedAdapterPath(work_.JobPath()));
    case engine::Contribution::kSketchLeft:
      return Kept().Keep(work_.JobPath());
    case engine::Contribution::kSketchRight:
      return Kept().Drop();
    default:
      return absl::OkStatus();
  }
}

absl::Status RoundRunner::NoteDeparture(const secagg::ClientSession& session,
                                        const secagg::MaskedInputHeader& header) {
  CHOIR_ASSIGN_OR_RETURN(Ledger ledger, Ledger::Open(parts_.home.Ledger()));
  Departure departure;
  departure.time = parts_.clock.Now();
  departure.run_id = task_.config.run_id();
  departure.round = task_.task.round();
  departure.session_hex = HexEncode(session.session_id());
  departure.masked_bytes = header.total_bytes;
  departure.input_hash_hex = DigestToHex(header.input_hash);
  departure.config = secagg::Encode(session.config());
  departure.delta = parts_.policy.delta;
  return ledger.NoteDeparture(std::move(departure));
}

// The masked input has left: whatever comes of it, the delta is spent, and the owner's ledger says
// so.
absl::Status RoundRunner::Settle(const std::string& session_hex, const SessionOutcome& outcome) {
  absl::Status status = outcome.ended;
  Outcome noted;
  if (outcome.in_the_sum) {
    const absl::StatusOr<secagg::RoundResult> result = AwaitResult();
    status = result.status();
    if (result.ok()) {
      noted.result_hash_hex = DigestToHex(secagg::ResultHash(*result));
      noted.contributors = result->contributors.size();
      noted.stated_epsilon = result->privacy.epsilon;
    }
  }
  if (absl::IsCancelled(status) && !secagg::ReasonOf(status).has_value()) return status;
  CHOIR_RETURN_IF_ERROR(KeepForLater());
  CHOIR_FAILPOINT("node-personal-kept");
  noted.time = parts_.clock.Now();
  noted.in_the_sum = status.ok();
  noted.text = status.ok() ? "in the sum" : std::string(status.message());
  CHOIR_ASSIGN_OR_RETURN(Ledger ledger, Ledger::Open(parts_.home.Ledger()));
  CHOIR_RETURN_IF_ERROR(ledger.NoteOutcome(session_hex, noted));
  return status;
}

// Signed, of this session, and no cheaper than what this node knows that it gave. Its place in the
// run's chain is checked when the adapters are synced.
absl::Status RoundRunner::CheckResult(const secagg::ClientSession& session,
                                      const secagg::RoundResult& result) const {
  CHOIR_ASSIGN_OR_RETURN(
      const trust::PublicKey key,
      trust::PublicKeyFrom(AsBytes(parts_.identity.manifest().coordinator_key())));
  CHOIR_RETURN_IF_ERROR(secagg::FollowChain(std::nullopt, key, result).status());
  CHOIR_RETURN_IF_ERROR(session.CheckResult(result));
  if (result.privacy.mechanism == secagg::NoiseMechanism::kNone) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const Ledger ledger, Ledger::Open(parts_.home.Ledger()));
  CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve own, ledger.SpentIn(task_.config.run_id()));
  const double least = privacy::EpsilonOf(own, result.privacy.delta);
  if (result.privacy.epsilon >= least * (1 - 1e-9)) return absl::OkStatus();
  return secagg::Refusal(secagg::AbortReason::kResultMismatch,
                         fmt::format("the result says that the run has cost epsilon {}, this node "
                                     "alone knows of {}",
                                     result.privacy.epsilon, least));
}

// The published result must be the one that this node helped to open.
absl::StatusOr<secagg::RoundResult> RoundRunner::AwaitResult() {
  CHOIR_ASSIGN_OR_RETURN(const std::optional<std::vector<uint8_t>> journal, work_.LoadJournal());
  if (!journal.has_value()) return absl::DataLossError("the session's journal is gone");
  const trust::SessionSigner signer(parts_.identity.device_key());
  const trust::SessionVerifier verifier(parts_.identity.manifest(), parts_.clock.Now());
  CHOIR_ASSIGN_OR_RETURN(const secagg::ClientSession session,
                         secagg::ClientSession::Restore(*journal, signer, verifier));
  const std::string session_id(AsChars(session.session_id()));
  constexpr auto kLast = static_cast<uint32_t>(trust::SessionStage::kSurvivorSignatures);
  for (;;) {
    v1::SessionBroadcast broadcast;
    CHOIR_RETURN_IF_ERROR(Insist(parts_.sleep, [&]() -> absl::Status {
      absl::StatusOr<v1::SessionBroadcast> answer = parts_.client.PollSession(session_id, kLast);
      if (answer.ok()) broadcast = *std::move(answer);
      return answer.status();
    }));
    if (!broadcast.aborted_reason().empty()) {
      const auto reason = secagg::AbortReasonFromName(broadcast.aborted_reason())
                              .value_or(secagg::AbortReason::kCancelled);
      return secagg::Refusal(absl::StatusCode::kAborted, reason, "the round was abandoned");
    }
    if (broadcast.has_message()) {
      CHOIR_ASSIGN_OR_RETURN(secagg::RoundResult result,
                             secagg::DecodeRoundResult(AsBytes(broadcast.message().body())));
      CHOIR_RETURN_IF_ERROR(CheckResult(session, result));
      return result;
    }
    if (!parts_.sleep(absl::Milliseconds(std::min(broadcast.wait_ms(), 20000u)))) {
      return absl::CancelledError("stopping");
    }
  }
}

}  // namespace choir::node
