#include "node/task/task_check.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "proto/trust/documents.h"
#include "proto/trust/privacy_terms.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/adapter_check.h"

namespace choir::node {
namespace {

constexpr uint64_t kMaxModelBytes = uint64_t{1} << 40;
constexpr uint64_t kMaxAdapterBytes = uint64_t{4} << 30;
constexpr uint32_t kMaxContextTokens = 1u << 17;
constexpr uint32_t kMaxSteps = 1u << 20;

using Reason = secagg::AbortReason;

absl::Status Deny(Reason reason, std::string_view text) {
  return secagg::Refusal(absl::StatusCode::kPermissionDenied, reason, text);
}

// A document of the coordinator's that is not signed by it is refused by a reason, too.
template <typename Message>
absl::StatusOr<Message> Open(const v1::SignedDocument& document, std::string_view domain,
                             const trust::PublicKey& key) {
  absl::StatusOr<Message> message = trust::OpenAs<Message>(document, domain, key);
  if (message.ok() || !absl::IsPermissionDenied(message.status())) return message;
  return Deny(Reason::kBadConfigSignature, std::string(message.status().message()));
}

absl::StatusOr<Digest> DigestField(const std::string& bytes, std::string_view what) {
  Digest digest;
  if (bytes.size() != digest.size()) {
    return absl::InvalidArgumentError(
        fmt::format("the task's {} has {} bytes instead of {}", what, bytes.size(), digest.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

absl::Status CheckAgreement(const CheckedTask& checked, const v1::Manifest& manifest) {
  const v1::RunConfig& config = checked.config;
  const v1::RoundTask& task = checked.task;
  if (config.federation_id() != manifest.federation_id() ||
      task.federation_id() != manifest.federation_id() ||
      checked.version.federation_id() != manifest.federation_id()) {
    return Deny(Reason::kForeignFederation, "the task belongs to another federation");
  }
  if (!IsRunId(config.run_id())) return absl::InvalidArgumentError("the run's name is malformed");
  if (task.run_id() != config.run_id() || checked.version.run_id() != config.run_id()) {
    return Deny(Reason::kForeignFederation, "the task's documents speak of different runs");
  }
  if (task.run_config_digest() != AsChars(checked.run_config_digest)) {
    return Deny(Reason::kBadConfig, "the run's configuration is not the one that the task names");
  }
  if (checked.version.adapter_digest() != task.adapter_digest() ||
      checked.version.version() != task.adapter_version()) {
    return Deny(Reason::kAdapterMismatch, "the adapter version is not the one that the task names");
  }
  const auto& allowed = manifest.base_model_digests();
  if (!allowed.empty() &&
      std::find(allowed.begin(), allowed.end(), config.base_model_digest()) == allowed.end()) {
    return Deny(Reason::kBaseMismatch, "the federation's manifest does not allow this base model");
  }
  if (config.aggregation().min_cohort() < manifest.min_cohort()) {
    return Deny(Reason::kCohortBelowMinimum,
                fmt::format("the run allows cohorts of {}, the federation's manifest wants {}",
                            config.aggregation().min_cohort(), manifest.min_cohort()));
  }
  return absl::OkStatus();
}

bool IsFiniteFromZero(float value) {
  return std::isfinite(value) && value >= 0;
}

absl::Status CheckRanges(const CheckedTask& checked) {
  const v1::TrainingSpec& training = checked.config.training();
  if (checked.config.base_model_bytes() == 0 ||
      checked.config.base_model_bytes() > kMaxModelBytes || checked.task.adapter_bytes() == 0 ||
      checked.task.adapter_bytes() > kMaxAdapterBytes) {
    return absl::InvalidArgumentError("the task's file sizes make no sense");
  }
  if (training.context_tokens() == 0 || training.context_tokens() > kMaxContextTokens ||
      training.local_steps() > kMaxSteps || training.local_epochs() > kMaxSteps ||
      (training.local_steps() == 0 && training.local_epochs() == 0) || training.batch() == 0 ||
      training.batch() > kMaxSteps) {
    return absl::InvalidArgumentError("the task's training lengths are out of range");
  }
  if (!(training.learning_rate() > 0) || !std::isfinite(training.learning_rate()) ||
      !IsFiniteFromZero(training.weight_decay()) ||
      !IsFiniteFromZero(training.max_gradient_norm()) ||
      !IsFiniteFromZero(training.proximal_mu())) {
    return absl::InvalidArgumentError("the task's training settings are out of range");
  }
  const float dropout = checked.config.lora().dropout();
  // Written so that NaN fails.
  if (!(dropout >= 0 && dropout <= engine::kMaxLoraDropout)) {
    return absl::InvalidArgumentError(fmt::format("the task's LoRA dropout is {}", dropout));
  }
  return absl::OkStatus();
}

absl::Status TakeBasis(CheckedTask& checked) {
  if (!engine::NeedsBasis(checked.contribution)) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(checked.basis_digest,
                         DigestField(checked.version.basis_digest(), "basis"));
  if (checked.version.basis_bytes() != 0 && checked.version.basis_bytes() <= kMaxAdapterBytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("the task's basis has {} bytes", checked.version.basis_bytes()));
}

}  // namespace

bool IsRunId(std::string_view text) {
  return !text.empty() && text.size() <= 48 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

absl::StatusOr<CheckedTask> CheckTask(const v1::CheckInResponse::Task& offer,
                                      const v1::Manifest& manifest, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(const trust::PublicKey key,
                         trust::PublicKeyFrom(AsBytes(manifest.coordinator_key())));
  CheckedTask checked;
  CHOIR_ASSIGN_OR_RETURN(checked.task, Open<v1::RoundTask>(offer.task(), trust::kTaskDomain, key));
  CHOIR_ASSIGN_OR_RETURN(checked.config,
                         Open<v1::RunConfig>(offer.run_config(), trust::kRunDomain, key));
  CHOIR_ASSIGN_OR_RETURN(checked.version, Open<v1::AdapterVersion>(offer.adapter_version(),
                                                                   trust::kAdapterDomain, key));
  checked.run_config_digest = trust::DocumentDigest(offer.run_config());
  CHOIR_RETURN_IF_ERROR(CheckAgreement(checked, manifest));
  if (const absl::Status floor = trust::MeetsFloor(checked.config.privacy(), manifest.privacy());
      !floor.ok()) {
    return Deny(Reason::kPrivacyBelowFloor, std::string(floor.message()));
  }
  CHOIR_RETURN_IF_ERROR(CheckRanges(checked));
  if (absl::FromUnixSeconds(checked.task.not_after_unix_s()) < now ||
      absl::FromUnixSeconds(checked.config.not_after_unix_s()) < now) {
    return Deny(Reason::kExpired, "the task has expired");
  }
  CHOIR_ASSIGN_OR_RETURN(checked.base_model_digest,
                         DigestField(checked.config.base_model_digest(), "base model"));
  CHOIR_ASSIGN_OR_RETURN(checked.adapter_digest,
                         DigestField(checked.task.adapter_digest(), "adapter"));
  CHOIR_ASSIGN_OR_RETURN(checked.contribution,
                         engine::ParseContribution(checked.task.trained_factors()));
  CHOIR_RETURN_IF_ERROR(TakeBasis(checked));
  return checked;
}

absl::Status CheckTaskAdapter(const CheckedTask& task, const engine::Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(engine::ValidateAdapter(adapter));
  if (adapter.architecture != task.config.architecture()) {
    return absl::InvalidArgumentError(
        fmt::format("the adapter is for architecture {}, the run for {}", adapter.architecture,
                    task.config.architecture()));
  }
  if (adapter.ParameterCount() != task.config.num_values()) {
    return absl::InvalidArgumentError(fmt::format("the adapter has {} values, the run {}",
                                                  adapter.ParameterCount(),
                                                  task.config.num_values()));
  }
  const uint32_t slices = task.config.aggregation().slice_components();
  int64_t rank = 0;
  for (const engine::LoraPair& pair : adapter.pairs) rank = std::max(rank, pair.rank);
  if (slices != 0 && slices != static_cast<uint64_t>(rank)) {
    return absl::InvalidArgumentError(
        fmt::format("the run has slices of {} components, the adapter {}", slices, rank));
  }
  std::vector<secagg::LoraFactors> modules;
  for (const engine::LoraPair& pair : adapter.pairs) modules.push_back({pair.a, pair.b});
  return secagg::CheckAdapter(modules);
}

}  // namespace choir::node
