#include "secure-agg/core/transcript.h"

#include <bit>
#include <cmath>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/graph_parameters.h"
#include "secure-agg/core/message_fields.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/wire.h"

namespace choir::secagg {
namespace {

// Starts a hash or a signature. The zero byte ends the label: no label is the beginning of another.
WireWriter Labelled(std::string_view label) {
  WireWriter writer;
  writer.Raw(AsBytes(label));
  writer.Number(uint8_t{0});
  return writer;
}

absl::Status Bad(std::string_view detail) {
  return Refusal(AbortReason::kBadConfig, detail);
}

bool IsPositive(double value) {
  return std::isfinite(value) && value > 0;
}

absl::Status ValidateWords(const SessionConfig& config) {
  const uint32_t b = config.word_bits;
  const uint32_t q = config.value_bits;
  if (b != 16 && b != 24 && b != 32) return Bad(fmt::format("words of {} bits; 16, 24 or 32", b));
  const auto room = static_cast<uint32_t>(std::bit_width(config.max_cohort - 1));
  if (q < 4 || q + room > b) {
    return Bad(
        fmt::format("values of {} bits from up to {} nodes need 4 <= q <= {} in {}-bit words", q,
                    config.max_cohort, b - room, b));
  }
  if (config.delta_length == 0 || config.delta_length > kMaxDeltaLength) {
    return Bad(fmt::format("a delta of {} values; 1 to {}", config.delta_length, kMaxDeltaLength));
  }
  if (config.extra_slots > kMaxExtraSlots) {
    return Bad(fmt::format("{} extra slots; at most {}", config.extra_slots, kMaxExtraSlots));
  }
  return absl::OkStatus();
}

absl::Status ValidateGraph(const SessionConfig& config) {
  const bool regular = config.graph == GraphKind::kRegular;
  if (!regular && config.graph != GraphKind::kComplete) {
    return Bad(fmt::format("graph {} is unknown", static_cast<int>(config.graph)));
  }
  const uint32_t largest = regular ? kMaxRegularGraph : kMaxCompleteGraph;
  if (config.min_cohort < 2 || config.max_cohort < config.min_cohort ||
      config.max_cohort > largest) {
    return Bad(fmt::format("a cohort of {} to {} nodes; a {} graph has 2 to {}", config.min_cohort,
                           config.max_cohort, regular ? "regular" : "complete", largest));
  }
  if (config.threshold_rule !=
      (regular ? ThresholdRule::kNeighbourhood : ThresholdRule::kTwoThirds)) {
    return Refusal(AbortReason::kThresholdLowered,
                   fmt::format("threshold rule {} is none that is safe against the coordinator",
                               static_cast<int>(config.threshold_rule)));
  }
  if (!regular && (config.corrupt_percent != 0 || config.dropout_percent != 0)) {
    return Bad("a complete graph has no fractions of corrupt and silent nodes");
  }
  if (regular &&
      (config.corrupt_percent == 0 ||
       !IsBearable(config.corrupt_percent, config.dropout_percent, CoordinatorModel::kLying))) {
    return Bad(
        fmt::format("no regular graph bears {} % corrupt and {} % silent nodes; the first, at "
                    "least 1, and twice the second must not exceed 90",
                    config.corrupt_percent, config.dropout_percent));
  }
  return absl::OkStatus();
}

absl::Status ValidatePrivacy(const SessionConfig& config) {
  const PrivacyParams& privacy = config.privacy;
  if (privacy.mechanism == NoiseMechanism::kNone) return absl::OkStatus();
  if (!(privacy.delta > 0 && privacy.delta < 1)) {
    return Bad(fmt::format("delta {}; above 0 and below 1", privacy.delta));
  }
  // What weighs or tells more than the noised words would be summed without noise.
  if (config.max_weight != 1 || config.extra_slots != 0) {
    return Bad("with differential privacy every node weighs the same, and no strategy has slots");
  }
  const absl::Status planned = PlanOf(CodecOf(config)).status();
  return planned.ok() ? planned : Bad(std::string(planned.message()));
}

}  // namespace

Digest HashConfig(const SessionConfig& config) {
  WireWriter writer = Labelled("choir/secagg/h0");
  ConfigBody(writer, config);
  return Sha256Of(std::move(writer).Take());
}

Digest HashKeyList(const Digest& h0, const KeyList& list) {
  WireWriter writer = Labelled("choir/secagg/h1");
  writer.Fixed(h0);
  Fields(writer, list);
  return Sha256Of(std::move(writer).Take());
}

Digest HashMembers(const Digest& h1, std::span<const NodeId> members) {
  WireWriter writer = Labelled("choir/secagg/h2");
  writer.Fixed(h1);
  writer.List(std::vector<NodeId>(members.begin(), members.end()), kMaxMembers, kNodeIdField);
  return Sha256Of(std::move(writer).Take());
}

Digest HashSurvivors(const Digest& h2, const SurvivorList& list) {
  WireWriter writer = Labelled("choir/secagg/h3");
  writer.Fixed(h2);
  Fields(writer, list);
  return Sha256Of(std::move(writer).Take());
}

Digest HashNeighbourList(const Digest& h0, const NeighbourList& list) {
  WireWriter writer = Labelled("choir/secagg/h1-regular");
  writer.Fixed(h0);
  NeighbourListHead(writer, list);
  return Sha256Of(std::move(writer).Take());
}

Digest HashMemberBits(const Digest& h1, std::span<const uint8_t> members) {
  WireWriter writer = Labelled("choir/secagg/h2-regular");
  writer.Fixed(h1);
  writer.Raw(members);
  return Sha256Of(std::move(writer).Take());
}

Digest HashNeighbourSurvivors(const Digest& h2, const NeighbourSurvivors& message) {
  WireWriter writer = Labelled("choir/secagg/h3-regular");
  writer.Fixed(h2);
  NeighbourSurvivorsHead(writer, message);
  return Sha256Of(std::move(writer).Take());
}

Digest HashKeyLeaf(uint32_t place, const KeyListEntry& entry) {
  WireWriter writer = Labelled("choir/secagg/key-leaf");
  writer.Number(place);
  kEntryFields(writer, entry);
  return Sha256Of(std::move(writer).Take());
}

Digest HashInputLeaf(uint32_t place, const Digest& input_hash) {
  WireWriter writer = Labelled("choir/secagg/input-leaf");
  writer.Number(place);
  writer.Fixed(input_hash);
  return Sha256Of(std::move(writer).Take());
}

Digest GraphSeed(const Digest& h1) {
  WireWriter writer = Labelled("choir/secagg/graph");
  writer.Fixed(h1);
  return Sha256Of(std::move(writer).Take());
}

Digest PairSalt(const Digest& h0, const Digest& h1) {
  if (CHOIR_SEEDED_BUG(16)) return h0;
  return Sha256().Update(h0).Update(h1).Finish();
}

std::vector<uint8_t> ConfigSigningBytes(const Digest& h0) {
  WireWriter writer = Labelled("choir/secagg/sign/config");
  writer.Fixed(h0);
  return std::move(writer).Take();
}

std::vector<uint8_t> AdvertiseSigningBytes(const Digest& h0, const AdvertiseKeys& message) {
  WireWriter writer = Labelled("choir/secagg/sign/advertise");
  writer.Fixed(h0);
  AdvertiseKeys unsigned_message = message;
  unsigned_message.signature = {};
  Fields(writer, unsigned_message);
  return std::move(writer).Take();
}

std::vector<uint8_t> ShareSigningBytes(const Digest& h0, const Digest& h1,
                                       const ShareKeys& message) {
  WireWriter writer = Labelled("choir/secagg/sign/shares");
  writer.Fixed(h0);
  writer.Fixed(h1);
  ShareKeysBody(writer, message);
  return std::move(writer).Take();
}

std::vector<uint8_t> InputSigningBytes(const Digest& h0, const Digest& h1, const Digest& h2,
                                       const MaskedInputHeader& message) {
  WireWriter writer = Labelled("choir/secagg/sign/input");
  writer.Fixed(h0);
  writer.Fixed(h1);
  writer.Fixed(h2);
  writer.Text(message.node_id, 1, kMaxIdBytes);
  writer.Number(message.total_bytes);
  writer.Number(message.chunk_bytes);
  writer.Fixed(message.input_hash);
  return std::move(writer).Take();
}

std::vector<uint8_t> ConsistencySigningBytes(const Digest& h0, const Digest& h1, const Digest& h2,
                                             const Digest& h3) {
  WireWriter writer = Labelled("choir/secagg/sign/consistency");
  writer.Fixed(h0);
  writer.Fixed(h1);
  writer.Fixed(h2);
  writer.Fixed(h3);
  return std::move(writer).Take();
}

std::vector<uint8_t> UnmaskSigningBytes(const Digest& h3, const UnmaskShares& message) {
  WireWriter writer = Labelled("choir/secagg/sign/unmask");
  writer.Fixed(h3);
  UnmaskBody(writer, message);
  return std::move(writer).Take();
}

std::vector<uint8_t> ResultSigningBytes(const RoundResult& message) {
  WireWriter writer = Labelled("choir/secagg/sign/result");
  ResultBody(writer, message);
  return std::move(writer).Take();
}

absl::Status SignConfig(const Signer& coordinator, SessionConfig& config) {
  CHOIR_ASSIGN_OR_RETURN(config.signature,
                         coordinator.Sign(ConfigSigningBytes(HashConfig(config))));
  return absl::OkStatus();
}

absl::Status ValidateConfig(const SessionConfig& config) {
  CHOIR_RETURN_IF_ERROR(ValidateGraph(config));
  if (config.prg != Prg::kChaCha20 && config.prg != Prg::kAes256Ctr) {
    return Bad(fmt::format("mask generator {} is unknown", static_cast<int>(config.prg)));
  }
  if (!IsPositive(config.codec_range) || !IsPositive(config.clip_norm) || config.max_weight == 0 ||
      config.max_weight > kMaxWeight) {
    return Bad(fmt::format("range {}, clip norm {} and weight limit {} (to {}) must be above zero",
                           config.codec_range, config.clip_norm, config.max_weight, kMaxWeight));
  }
  CHOIR_RETURN_IF_ERROR(ValidateWords(config));
  return ValidatePrivacy(config);
}

}  // namespace choir::secagg
