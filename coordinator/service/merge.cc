#include "coordinator/service/merge.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/mapped_file.h"
#include "base/secret.h"
#include "base/status_macros.h"
#include "coordinator/service/merge_gate.h"
#include "coordinator/service/merge_plan.h"
#include "coordinator/service/norm_bound.h"
#include "coordinator/service/not_stored.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/strategy/slices.h"
#include "engine/lora/contribution.h"
#include "engine/lora/gguf_adapter.h"
#include "proto/trust/documents.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/codec.h"

namespace choir::coordinator {
namespace {

absl::StatusOr<v1::AdapterVersion> Parse(const v1::SignedDocument& document) {
  v1::AdapterVersion version;
  if (version.ParseFromString(document.body())) return version;
  return absl::DataLossError("the parent adapter version cannot be parsed");
}

// With central noise the sum is noised before anything of it is read.
absl::StatusOr<secagg::CohortSum> DecodeCohort(const secagg::CodecParams& codec,
                                               std::span<const uint8_t> packed,
                                               uint32_t contributors, RandomSource& random) {
  if (codec.privacy.mechanism != secagg::NoiseMechanism::kCentralGaussian) {
    return secagg::DecodeSum(codec, packed, contributors);
  }
  std::vector<uint8_t> noised(packed.begin(), packed.end());
  CHOIR_RETURN_IF_ERROR(secagg::AddCentralNoise(codec, noised, random));
  absl::StatusOr<secagg::CohortSum> sum = secagg::DecodeSum(codec, noised, contributors);
  WipeBytes(noised);
  return sum;
}

// The cohort's means; of a run with slices, `extras` are the components' weights.
absl::StatusOr<secagg::CohortSum> ReadSum(const MergeInput::Cohort& cohort,
                                          const secagg::SessionConfig& session,
                                          RandomSource& random) {
  const secagg::CodecParams codec = secagg::CodecOf(session);
  CHOIR_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(cohort.sum_path));
  if (Sha256Of(file.bytes()) != cohort.result.sum_hash) {
    return secagg::Refusal(secagg::AbortReason::kDamagedJournal,
                           fmt::format("{} is not the sum that was opened", cohort.sum_path));
  }
  CHOIR_ASSIGN_OR_RETURN(
      secagg::CohortSum sum,
      DecodeCohort(codec, file.bytes(), static_cast<uint32_t>(cohort.result.contributors.size()),
                   random));
  CHOIR_RETURN_IF_ERROR(CheckNorm(session, sum));
  absl::StatusOr<std::vector<double>> weights =
      ComponentWeights(sum.extras, codec.max_weight, sum.total_weight);
  if (!weights.ok()) {
    return secagg::Refusal(secagg::AbortReason::kSumOutOfBound,
                           std::string(weights.status().message()));
  }
  sum.extras = *std::move(weights);
  return sum;
}

// Reads every cohort's sum; one that is not good is left out, unless it was the last.
absl::StatusOr<std::vector<CohortUpdate>> ReadSums(const MergeInput& input,
                                                   const secagg::SessionConfig& session,
                                                   RandomSource& random,
                                                   std::vector<const MergeInput::Cohort*>& used,
                                                   MergeOutput& out) {
  std::vector<CohortUpdate> updates;
  absl::Status first_error;
  double loss_sum = 0;
  double unclipped = 0;
  bool tells_clipping = true;
  for (const MergeInput::Cohort& cohort : input.cohorts) {
    absl::StatusOr<secagg::CohortSum> sum = ReadSum(cohort, session, random);
    if (!sum.ok()) {
      first_error.Update(sum.status());
      out.left_out.emplace_back(cohort.session_id, sum.status());
      continue;
    }
    out.contributors += sum->num_contributors;
    out.trained_tokens += sum->token_count;
    out.num_clipped += sum->num_clipped;
    loss_sum += sum->loss_sum;
    tells_clipping = tells_clipping && sum->unclipped_share.has_value();
    unclipped += sum->unclipped_share.value_or(0) * sum->num_contributors;
    updates.push_back({std::move(sum->mean_delta), sum->total_weight, std::move(sum->extras)});
    used.push_back(&cohort);
  }
  if (updates.empty()) {
    return first_error.ok() ? absl::FailedPreconditionError("there is no sum to merge")
                            : first_error;
  }
  if (tells_clipping) out.unclipped_share = unclipped / out.contributors;
  if (out.trained_tokens > 0) {
    out.mean_train_loss = loss_sum / static_cast<double>(out.trained_tokens);
  }
  return updates;
}

// Signs the results of the cohorts that went in, each continuing the run's chain.
absl::StatusOr<secagg::ChainHead> SignResults(const MergeInput& input, const Digest& adapter,
                                              std::span<const MergeInput::Cohort* const> used,
                                              const trust::SigningKey& key, MergeOutput& out) {
  const trust::SessionSigner signer(key);
  std::optional<secagg::ChainHead> head = input.head;
  for (const MergeInput::Cohort* cohort : used) {
    secagg::RoundResult result = cohort->result;
    result.adapter_hash = adapter;
    result.privacy = input.privacy;
    CHOIR_RETURN_IF_ERROR(secagg::SignResult(head, signer, result));
    head = secagg::ChainHead{result.sequence, secagg::ResultHash(result)};
    std::string encoded(AsChars(secagg::Encode(result)));
    out.version.results.push_back(encoded);
    out.results.emplace_back(cohort->session_id, std::move(encoded));
  }
  return *head;
}

// The server optimizer's step. What it remembers is a blob that the version names, so it becomes
// durable with the version, and an abandoned round leaves no trace in it.
absl::StatusOr<std::vector<float>> StepServer(const ServerOptimizerConfig& config,
                                              std::span<const float> mean,
                                              engine::Contribution contribution,
                                              const v1::AdapterVersion& parent, BlobStore& blobs,
                                              v1::AdapterVersion& version) {
  ServerState state;
  if (!parent.server_state_digest().empty()) {
    CHOIR_ASSIGN_OR_RETURN(const Digest digest,
                           DigestFrom(parent.server_state_digest(), "server_state_digest"));
    CHOIR_ASSIGN_OR_RETURN(const BlobInfo info, blobs.Stat(digest));
    CHOIR_ASSIGN_OR_RETURN(const std::string bytes, blobs.Read(digest, 0, info.stored_bytes));
    CHOIR_ASSIGN_OR_RETURN(state, ParseServerState(bytes));
  }
  CHOIR_ASSIGN_OR_RETURN(std::vector<float> update,
                         ServerStep(config, mean, engine::ContributionName(contribution), state));
  if (state.empty()) return update;
  const std::string bytes = SerializeServerState(state);
  const Digest digest = Sha256Of(bytes);
  CHOIR_RETURN_IF_ERROR(NotStored(blobs.PutWhole(digest, AsBytes(bytes))));
  version.set_server_state_digest(std::string(AsText(digest)));
  return update;
}

// The mean over all cohorts' weight becomes each component's own.
absl::Status DivideSlices(std::span<const CohortUpdate> updates,
                          std::span<const uint32_t> components, std::vector<float>& mean) {
  double total = 0;
  std::vector<double> weights(updates[0].component_weights.size());
  for (const CohortUpdate& update : updates) {
    total += update.total_weight;
    for (size_t j = 0; j < weights.size(); ++j) weights[j] += update.component_weights[j];
  }
  return DivideByComponent(components, weights, total, mean);
}

absl::Status ReadBasis(const v1::AdapterVersion& parent, BlobStore& blobs, VersionState& state) {
  if (parent.basis_digest().empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const Digest digest, DigestFrom(parent.basis_digest(), "basis_digest"));
  CHOIR_ASSIGN_OR_RETURN(state.basis, ReadAdapterBlob(blobs, digest));
  return absl::OkStatus();
}

absl::Status StoreBasis(const VersionState& state, BlobStore& blobs, v1::AdapterVersion& version) {
  if (!state.basis.has_value()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, engine::SerializeGgufAdapter(*state.basis));
  const Digest digest = Sha256Of(std::string_view(bytes));
  CHOIR_RETURN_IF_ERROR(NotStored(blobs.PutWhole(digest, AsBytes(bytes))));
  version.set_basis_digest(std::string(AsText(digest)));
  version.set_basis_bytes(bytes.size());
  return absl::OkStatus();
}

absl::Status CheckNew(const engine::Adapter& adapter) {
  absl::Status finite = engine::CheckFinite(adapter);
  if (finite.ok()) return finite;
  return secagg::Refusal(secagg::AbortReason::kNonFiniteAdapter, std::string(finite.message()));
}

}  // namespace

absl::StatusOr<MergeOutput> MergeRound(const MergeInput& input, const trust::SigningKey& key,
                                       BlobStore& blobs, RandomSource& random) {
  MergeOutput out;
  CHOIR_ASSIGN_OR_RETURN(const v1::AdapterVersion parent, Parse(input.parent));
  CHOIR_ASSIGN_OR_RETURN(const Digest parent_adapter,
                         DigestFrom(parent.adapter_digest(), "adapter_digest"));
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter adapter, ReadAdapterBlob(blobs, parent_adapter));
  CHOIR_ASSIGN_OR_RETURN(const MergePlan plan, MergePlanOf(input.config.aggregation()));
  const engine::Contribution contribution = plan.strategy->ContributionFor(parent.version());
  const uint64_t length = engine::ContributionLength(adapter, contribution);
  const secagg::SessionConfig session = SessionTemplate(input.config, length, input.clip_norm);

  std::vector<const MergeInput::Cohort*> used;
  CHOIR_ASSIGN_OR_RETURN(const std::vector<CohortUpdate> updates,
                         ReadSums(input, session, random, used, out));
  CHOIR_ASSIGN_OR_RETURN(std::vector<float> mean, CombineCohorts(updates, length, plan.combine));
  if (session.extra_slots > 0) {
    CHOIR_RETURN_IF_ERROR(DivideSlices(updates, ComponentsOf(adapter, contribution), mean));
  }
  v1::AdapterVersion version;
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> update,
                         StepServer(plan.optimizer, mean, contribution, parent, blobs, version));
  VersionState state{std::move(adapter)};
  CHOIR_RETURN_IF_ERROR(ReadBasis(parent, blobs, state));
  CHOIR_RETURN_IF_ERROR(plan.strategy->Apply(update, parent.version(), state));
  CHOIR_RETURN_IF_ERROR(CheckNew(state.adapter));
  CHOIR_RETURN_IF_ERROR(StoreBasis(state, blobs, version));
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, engine::SerializeGgufAdapter(state.adapter));
  const Digest digest = Sha256Of(bytes);
  CHOIR_RETURN_IF_ERROR(NotStored(blobs.PutWhole(digest, AsBytes(bytes))));
  CHOIR_RETURN_IF_ERROR(
      PassGate(input.config, parent, digest, {input.evaluate, input.gate_folder, blobs}, version));
  if (version.has_held_out_nll()) out.held_out_nll = version.held_out_nll();
  CHOIR_ASSIGN_OR_RETURN(const secagg::ChainHead head, SignResults(input, digest, used, key, out));

  version.set_federation_id(input.config.federation_id());
  version.set_run_id(input.config.run_id());
  version.set_version(parent.version() + 1);
  version.set_round(input.round);
  version.set_adapter_digest(std::string(AsText(digest)));
  version.set_adapter_bytes(bytes.size());
  version.set_parent_digest(std::string(AsText(trust::DocumentDigest(input.parent))));
  version.set_round_result_digest(std::string(AsText(head.hash)));
  version.set_contributors(out.contributors);
  version.set_created_unix_s(absl::ToUnixSeconds(input.now));
  version.set_mean_train_loss(out.mean_train_loss);
  version.set_epsilon(input.privacy.epsilon);
  version.set_delta(input.privacy.delta);
  out.version.run_id = input.config.run_id();
  out.version.version = version.version();
  out.version.document =
      trust::SignDocument(key, trust::kAdapterDomain, version).SerializeAsString();
  return out;
}

}  // namespace choir::coordinator
