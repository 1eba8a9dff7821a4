#include "coordinator/service/run_plan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/privacy/privacy_spec.h"
#include "coordinator/service/merge_plan.h"
#include "coordinator/strategy/slices.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/latent.h"
#include "proto/trust/privacy_terms.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/transcript.h"

namespace choir::coordinator {
namespace {

constexpr size_t kMaxRunIdBytes = 48;
// In secure aggregation with fewer, one node learns another's update by subtracting its own.
constexpr uint32_t kSmallestCohort = 3;
constexpr uint32_t kMaxCohortsOfRound = 64;
constexpr uint32_t kMaxRounds = 100'000;
constexpr uint32_t kLongestWaitS = 7 * 24 * 3600;
constexpr uint32_t kDefaultWaitS = 60;
constexpr uint32_t kDefaultTrainingWaitS = 600;
constexpr uint32_t kMaxTrainingSteps = 1u << 20;
constexpr uint32_t kMaxContextTokens = 1u << 17;
constexpr float kMostOverSelection = 4.0f;
// An 8B model at rank 64 stays below this.
constexpr uint64_t kMaxAdapterBytes = uint64_t{2} << 30;
// A gate reads all of them in every round.
constexpr uint64_t kMaxHeldOutBytes = uint64_t{64} << 20;
// The life of a run, where the operator sets none, and its limit: nodes refuse older work.
constexpr absl::Duration kRunLife = absl::Hours(24 * 90);
constexpr absl::Duration kLongestRunLife = absl::Hours(24 * 3653);

absl::Status Invalid(std::string_view field, const std::string& text) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", field, text));
}

absl::Status CheckRunId(const std::string& id) {
  const bool plain = std::ranges::all_of(
      id, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  if (plain && !id.empty() && id.size() <= kMaxRunIdBytes) return absl::OkStatus();
  return Invalid("run_id", fmt::format("1 to {} of a-z, 0-9 and -", kMaxRunIdBytes));
}

absl::Status CheckModel(v1::RunConfig& config, const v1::Manifest& manifest, BlobStore& blobs) {
  CHOIR_ASSIGN_OR_RETURN(const Digest model,
                         DigestFrom(config.base_model_digest(), "base_model_digest"));
  const auto& allowed = manifest.base_model_digests();
  if (!allowed.empty() &&
      std::find(allowed.begin(), allowed.end(), config.base_model_digest()) == allowed.end()) {
    return absl::PermissionDeniedError(fmt::format(
        "base model {} is none that the federation's manifest allows", DigestToHex(model)));
  }
  CHOIR_ASSIGN_OR_RETURN(const BlobInfo info, blobs.Stat(model));
  if (!info.complete) {
    return absl::NotFoundError(
        fmt::format("base model {} is not here yet; upload it first", DigestToHex(model)));
  }
  config.set_base_model_bytes(info.stored_bytes);
  return absl::OkStatus();
}

// A masked slot for each component's weight.
absl::Status FillSlices(const engine::Adapter& adapter, v1::AggregationSpec& spec) {
  spec.set_slice_components(0);
  if (!spec.slices()) return absl::OkStatus();
  const uint32_t components = CountComponents(adapter);
  if (components > secagg::kMaxExtraSlots) {
    return Invalid("aggregation.slices",
                   fmt::format("rank {}; slices go up to {}", components, secagg::kMaxExtraSlots));
  }
  const absl::StatusOr<std::unique_ptr<AggregationStrategy>> strategy =
      MakeStrategy(spec.strategy());
  const bool factors = strategy.ok() && engine::IsFactors((*strategy)->ContributionFor(1));
  if (!factors || (!spec.combine().empty() && spec.combine() != "mean")) {
    return Invalid("aggregation.slices",
                   "go with strategies that send factors (not latent, not sketch), and with "
                   "combine = \"mean\"");
  }
  spec.set_slice_components(components);
  return absl::OkStatus();
}

absl::Status CheckInitialAdapter(v1::RunConfig& config, BlobStore& blobs) {
  CHOIR_ASSIGN_OR_RETURN(const Digest digest,
                         DigestFrom(config.initial_adapter_digest(), "initial_adapter_digest"));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, ReadAdapterBlob(blobs, digest));
  CHOIR_RETURN_IF_ERROR(engine::CheckFinite(adapter));
  CHOIR_RETURN_IF_ERROR(engine::CheckNotDegenerate(adapter));
  if (config.aggregation().strategy() == "latent") {
    // It has a latent form: what the first merge will need.
    CHOIR_RETURN_IF_ERROR(engine::MakeLatent(adapter).status());
  }
  CHOIR_RETURN_IF_ERROR(FillSlices(adapter, *config.mutable_aggregation()));
  if (config.num_values() != 0 && config.num_values() != adapter.ParameterCount()) {
    return Invalid("num_values", fmt::format("{}, but the initial adapter has {}",
                                             config.num_values(), adapter.ParameterCount()));
  }
  config.set_num_values(adapter.ParameterCount());
  return absl::OkStatus();
}

constexpr uint32_t kDefaultCorruptPercent = 5;
constexpr uint32_t kDefaultDropoutPercent = 20;

bool UsesRegularGraph(const v1::AggregationSpec& spec) {
  return spec.graph() == "regular" ||
         (spec.graph() == "auto" && spec.max_cohort() > secagg::kMaxCompleteGraph);
}

// Every pair of nodes, or each node and its neighbours: by the largest cohort, where the run does
// not say.
absl::Status FillGraph(v1::AggregationSpec& spec) {
  if (spec.graph().empty()) spec.set_graph("auto");
  if (spec.graph() != "auto" && spec.graph() != "complete" && spec.graph() != "regular") {
    return Invalid("aggregation.graph",
                   fmt::format("\"{}\" is none of auto, complete, regular", spec.graph()));
  }
  if (spec.corrupt_percent() == 0) spec.set_corrupt_percent(kDefaultCorruptPercent);
  if (spec.dropout_percent() == 0) spec.set_dropout_percent(kDefaultDropoutPercent);
  if (spec.corrupt_percent() > 90 || spec.dropout_percent() > 90 ||
      spec.corrupt_percent() + 2 * spec.dropout_percent() > 90) {
    return Invalid("aggregation.corrupt_percent",
                   fmt::format("{} and twice dropout_percent, {}, must not exceed 90",
                               spec.corrupt_percent(), spec.dropout_percent()));
  }
  return absl::OkStatus();
}

absl::Status CheckCohort(const v1::AggregationSpec& spec, const v1::Manifest& manifest) {
  const uint32_t floor = std::max(kSmallestCohort, manifest.min_cohort());
  if (spec.min_cohort() < floor) {
    return Invalid("aggregation.min_cohort",
                   fmt::format("{} is below the floor of {}", spec.min_cohort(), floor));
  }
  const uint32_t largest =
      UsesRegularGraph(spec) ? secagg::kMaxRegularGraph : secagg::kMaxCompleteGraph;
  if (spec.target_cohort() < spec.min_cohort() || spec.max_cohort() < spec.target_cohort() ||
      spec.max_cohort() > largest) {
    return Invalid(
        "aggregation",
        fmt::format("cohorts of min {}, target {}, max {}: they must grow, up to {}",
                    spec.min_cohort(), spec.target_cohort(), spec.max_cohort(), largest));
  }
  return absl::OkStatus();
}

absl::Status FillAggregation(v1::AggregationSpec& spec, const v1::Manifest& manifest) {
  CHOIR_RETURN_IF_ERROR(FillMergePlan(spec));
  if (spec.target_cohort() == 0) spec.set_target_cohort(spec.min_cohort());
  if (spec.max_cohort() == 0) {
    spec.set_max_cohort(std::max(spec.target_cohort(), secagg::kMaxCompleteGraph));
  }
  if (spec.ring_bits() == 0) spec.set_ring_bits(32);
  // No value of a clipped vector is larger than its norm.
  if (spec.codec_range() == 0) spec.set_codec_range(spec.clip_norm());
  if (spec.max_examples_weight() == 0 || spec.equal_weights()) spec.set_max_examples_weight(1.0f);
  if (!(spec.max_examples_weight() >= 1.0f)) {
    return Invalid("aggregation.max_examples_weight", "must be at least 1");
  }
  CHOIR_RETURN_IF_ERROR(FillGraph(spec));
  return CheckCohort(spec, manifest);
}

// The nodes' own limits (node/task/task_check.cc): a run beyond them would find no node.
absl::Status CheckTraining(const v1::TrainingSpec& spec) {
  if (spec.local_steps() == 0 && spec.local_epochs() == 0) {
    return Invalid("training", "one of local_steps and local_epochs must be above zero");
  }
  if (spec.local_steps() > kMaxTrainingSteps || spec.local_epochs() > kMaxTrainingSteps ||
      spec.batch() == 0 || spec.batch() > kMaxTrainingSteps) {
    return Invalid("training", fmt::format("{} steps, {} epochs, batch {}: at most {} of each, and "
                                           "a batch of at least 1",
                                           spec.local_steps(), spec.local_epochs(), spec.batch(),
                                           kMaxTrainingSteps));
  }
  if (spec.context_tokens() == 0 || spec.context_tokens() > kMaxContextTokens) {
    return Invalid("training.context_tokens",
                   fmt::format("{}; 1 to {}", spec.context_tokens(), kMaxContextTokens));
  }
  if (!std::isfinite(spec.learning_rate()) || spec.learning_rate() <= 0) {
    return Invalid("training.learning_rate", "must be a number above zero");
  }
  for (const float value : {spec.weight_decay(), spec.max_gradient_norm(), spec.proximal_mu()}) {
    if (!std::isfinite(value) || value < 0) {
      return Invalid(
          "training",
          "weight_decay, max_gradient_norm and proximal_mu must be numbers from zero on");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDropout(float rate) {
  // Written so that NaN fails.
  if (rate >= 0 && rate <= engine::kMaxLoraDropout) return absl::OkStatus();
  return Invalid("lora.dropout", fmt::format("{}; 0 to {}", rate, engine::kMaxLoraDropout));
}

absl::Status FillWait(std::string_view field, uint32_t value, uint32_t fallback,
                      void (v1::PacingSpec::*set)(uint32_t), v1::PacingSpec& spec) {
  if (value > kLongestWaitS) {
    return Invalid(field, fmt::format("{} s; at most {}", value, kLongestWaitS));
  }
  if (value == 0) (spec.*set)(fallback);
  return absl::OkStatus();
}

absl::Status FillPacing(v1::PacingSpec& spec) {
  if (spec.rounds() == 0 || spec.rounds() > kMaxRounds) {
    return Invalid("pacing.rounds", fmt::format("{}; 1 to {}", spec.rounds(), kMaxRounds));
  }
  CHOIR_RETURN_IF_ERROR(FillWait("pacing.select_wait_s", spec.select_wait_s(), kDefaultWaitS,
                                 &v1::PacingSpec::set_select_wait_s, spec));
  CHOIR_RETURN_IF_ERROR(FillWait("pacing.training_wait_s", spec.training_wait_s(),
                                 kDefaultTrainingWaitS, &v1::PacingSpec::set_training_wait_s,
                                 spec));
  CHOIR_RETURN_IF_ERROR(FillWait("pacing.cohort_wait_s", spec.cohort_wait_s(), kDefaultWaitS,
                                 &v1::PacingSpec::set_cohort_wait_s, spec));
  CHOIR_RETURN_IF_ERROR(FillWait("pacing.stage_wait_s", spec.stage_wait_s(), kDefaultWaitS,
                                 &v1::PacingSpec::set_stage_wait_s, spec));
  if (!(spec.over_selection() >= 0.0f && spec.over_selection() <= kMostOverSelection)) {
    return Invalid("pacing.over_selection",
                   fmt::format("{}; 0 to {}", spec.over_selection(), kMostOverSelection));
  }
  if (spec.cohorts() == 0) spec.set_cohorts(1);
  if (spec.cohorts() > kMaxCohortsOfRound) {
    return Invalid("pacing.cohorts",
                   fmt::format("{}; at most {}", spec.cohorts(), kMaxCohortsOfRound));
  }
  return absl::OkStatus();
}

// A run that ends within an update would throw half of its rounds away.
absl::Status CheckRounds(const v1::RunConfig& config) {
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<AggregationStrategy> strategy,
                         MakeStrategy(config.aggregation().strategy()));
  const uint64_t each = strategy->VersionsPerUpdate();
  if (config.pacing().rounds() % each == 0) return absl::OkStatus();
  return Invalid("pacing.rounds",
                 fmt::format("{}; with strategy {} an update takes {} rounds: give a multiple",
                             config.pacing().rounds(), config.aggregation().strategy(), each));
}

absl::Status FillGate(v1::RunConfig& config, BlobStore& blobs) {
  if (!config.has_gate() || config.gate().data_digest().empty()) {
    config.clear_gate();
    return absl::OkStatus();
  }
  CHOIR_ASSIGN_OR_RETURN(const Digest data,
                         DigestFrom(config.gate().data_digest(), "gate.data_digest"));
  CHOIR_ASSIGN_OR_RETURN(const BlobInfo info, blobs.Stat(data));
  if (!info.complete) {
    return absl::NotFoundError(fmt::format(
        "the held-out texts {} are not here yet; upload them first", DigestToHex(data)));
  }
  if (info.stored_bytes > kMaxHeldOutBytes) {
    return Invalid("gate.data", fmt::format("{} bytes of held-out texts; at most {}",
                                            info.stored_bytes, kMaxHeldOutBytes));
  }
  if (!std::isfinite(config.gate().margin()) || config.gate().margin() < 0) {
    return Invalid("gate.margin", "must be a number from zero on");
  }
  if (config.aggregation().strategy() == "share-a") {
    return Invalid("gate",
                   "with share-a the published adapter is half of each node's own: there "
                   "is nothing to evaluate");
  }
  return absl::OkStatus();
}

// The operator's end of the run, if there is one.
absl::Status FillLife(v1::RunConfig& config, absl::Time now) {
  if (config.not_after_unix_s() == 0) {
    config.set_not_after_unix_s(absl::ToUnixSeconds(now + kRunLife));
    return absl::OkStatus();
  }
  const absl::Time end = absl::FromUnixSeconds(config.not_after_unix_s());
  if (end > now && end <= now + kLongestRunLife) return absl::OkStatus();
  return Invalid("not_after_unix_s",
                 fmt::format("the run would end at {}, and it is {}; give a time ahead, at most 10 "
                             "years from now",
                             absl::FormatTime(end, absl::UTCTimeZone()),
                             absl::FormatTime(now, absl::UTCTimeZone())));
}

// Secure aggregation's own rules, before any node meets them.
absl::Status CheckSessions(const v1::RunConfig& config) {
  secagg::SessionConfig sample =
      SessionTemplate(config, config.num_values(), double{config.aggregation().clip_norm()});
  sample.round = 1;
  sample.round_counter = 1;
  sample.expires_at_ms = 1;
  absl::Status valid = secagg::ValidateConfig(sample);
  if (valid.ok()) return valid;
  return Invalid("aggregation", std::string(valid.message()));
}

// What a session of all of the run's values costs, as the configuration now stands.
absl::StatusOr<privacy::RdpCurve> SessionCostOf(const v1::RunConfig& config) {
  const double clip_norm = double{config.aggregation().clip_norm()};
  return secagg::CostOf(secagg::CodecOf(SessionTemplate(config, config.num_values(), clip_norm)));
}

}  // namespace

absl::StatusOr<Digest> DigestFrom(std::string_view bytes, std::string_view what) {
  Digest digest{};
  if (bytes.size() != digest.size()) {
    return Invalid(what, fmt::format("{} bytes instead of 32", bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

absl::StatusOr<v1::RunConfig> CompleteRunConfig(v1::RunConfig config, const v1::Manifest& manifest,
                                                BlobStore& blobs, absl::Time now) {
  CHOIR_RETURN_IF_ERROR(CheckRunId(config.run_id()));
  CHOIR_RETURN_IF_ERROR(CheckModel(config, manifest, blobs));
  CHOIR_RETURN_IF_ERROR(CheckInitialAdapter(config, blobs));
  CHOIR_RETURN_IF_ERROR(CheckTraining(config.training()));
  CHOIR_RETURN_IF_ERROR(CheckDropout(config.lora().dropout()));
  CHOIR_RETURN_IF_ERROR(FillAggregation(*config.mutable_aggregation(), manifest));
  CHOIR_RETURN_IF_ERROR(FillPacing(*config.mutable_pacing()));
  CHOIR_RETURN_IF_ERROR(
      CompletePrivacySpec(config, manifest.privacy(), [&config] { return SessionCostOf(config); }));
  CHOIR_RETURN_IF_ERROR(FillGate(config, blobs));
  CHOIR_RETURN_IF_ERROR(CheckRounds(config));
  config.set_federation_id(manifest.federation_id());
  config.set_created_unix_s(absl::ToUnixSeconds(now));
  CHOIR_RETURN_IF_ERROR(FillLife(config, now));
  CHOIR_RETURN_IF_ERROR(CheckSessions(config));
  return config;
}

RoundPolicy PolicyOf(const v1::RunConfig& config) {
  RoundPolicy policy;
  policy.min_cohort = config.aggregation().min_cohort();
  policy.target_cohort = config.aggregation().target_cohort();
  policy.max_cohort = config.aggregation().max_cohort();
  policy.cohorts = config.pacing().cohorts();
  policy.over_selection = double{config.pacing().over_selection()};
  policy.select_wait = absl::Seconds(config.pacing().select_wait_s());
  policy.lease = absl::Seconds(config.pacing().training_wait_s());
  policy.cohort_wait = absl::Seconds(config.pacing().cohort_wait_s());
  return policy;
}

absl::Duration StageWait(const v1::RunConfig& config) {
  return absl::Seconds(config.pacing().stage_wait_s());
}

secagg::SessionConfig SessionTemplate(const v1::RunConfig& config, uint64_t delta_length,
                                      double clip_norm) {
  const v1::AggregationSpec& spec = config.aggregation();
  secagg::SessionConfig out;
  out.federation_id = config.federation_id();
  out.run_id = config.run_id();
  out.delta_length = delta_length;
  out.extra_slots = spec.slice_components();
  out.word_bits = static_cast<uint8_t>(std::min(spec.ring_bits(), 255u));
  // q = b - ceil(log2 n): the sum of n values of q bits has b.
  const int sum_bits = std::bit_width(std::max(spec.max_cohort(), 1u) - 1);
  out.value_bits = static_cast<uint8_t>(std::max(int{out.word_bits} - sum_bits, 0));
  // Values shrink and grow with the norm that bounds them.
  const double first_norm = double{spec.clip_norm()};
  out.codec_range = clip_norm == first_norm ? double{spec.codec_range()}
                                            : double{spec.codec_range()} * (clip_norm / first_norm);
  out.clip_norm = clip_norm;
  // A complete configuration names a mechanism that there is.
  out.privacy = trust::SessionPrivacyOf(config.privacy()).value_or(secagg::PrivacyParams());
  out.max_weight = static_cast<uint64_t>(std::llround(double{spec.max_examples_weight()}));
  out.min_cohort = spec.min_cohort();
  out.max_cohort = spec.max_cohort();
  if (UsesRegularGraph(spec)) {
    out.graph = secagg::GraphKind::kRegular;
    out.threshold_rule = secagg::ThresholdRule::kNeighbourhood;
    out.corrupt_percent = static_cast<uint8_t>(std::min(spec.corrupt_percent(), 255u));
    out.dropout_percent = static_cast<uint8_t>(std::min(spec.dropout_percent(), 255u));
  }
  const auto wait_ms = static_cast<uint32_t>(absl::ToInt64Milliseconds(StageWait(config)));
  out.deadlines = {wait_ms, wait_ms, wait_ms, wait_ms, wait_ms};
  return out;
}

absl::StatusOr<engine::Adapter> ReadAdapterBlob(BlobStore& blobs, const Digest& digest) {
  CHOIR_ASSIGN_OR_RETURN(const BlobInfo info, blobs.Stat(digest));
  if (!info.complete) {
    return absl::NotFoundError(
        fmt::format("adapter {} is not here yet; upload it first", DigestToHex(digest)));
  }
  if (info.stored_bytes > kMaxAdapterBytes) {
    return absl::InvalidArgumentError(fmt::format("adapter {} has {} bytes; at most {} are read",
                                                  DigestToHex(digest), info.stored_bytes,
                                                  kMaxAdapterBytes));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, blobs.Read(digest, 0, info.stored_bytes));
  return engine::ParseGgufAdapter(AsBytes(bytes));
}

}  // namespace choir::coordinator
