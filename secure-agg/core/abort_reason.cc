#include "secure-agg/core/abort_reason.h"

#include "absl/strings/cord.h"
#include <fmt/format.h>

namespace choir::secagg {
namespace {

constexpr char kPayloadUrl[] = "choir/secagg/abort-reason";

struct ReasonEntry {
  AbortReason reason;
  std::string_view name;
  std::string_view text;
};

constexpr ReasonEntry kReasons[] = {
#define CHOIR_ABORT_REASON(Name, number, name, text) {AbortReason::k##Name, name, text},
#include "secure-agg/core/abort_reasons.def"
#undef CHOIR_ABORT_REASON
};

const ReasonEntry& EntryOf(AbortReason reason) {
  for (const ReasonEntry& entry : kReasons) {
    if (entry.reason == reason) return entry;
  }
  return kReasons[0];
}

absl::StatusCode CodeOf(AbortReason reason) {
  switch (reason) {
    case AbortReason::kUnexpectedMessage:
    case AbortReason::kForeignSession:
    case AbortReason::kTooLate:
    case AbortReason::kSessionOver:
    case AbortReason::kChunkOutOfOrder:
      return absl::StatusCode::kFailedPrecondition;
    case AbortReason::kMalformedMessage:
    case AbortReason::kBadShare:
    case AbortReason::kChunkDamaged:
    case AbortReason::kDamagedJournal:
    case AbortReason::kSumInconsistent:
    case AbortReason::kSumOutOfBound:
      return absl::StatusCode::kDataLoss;
    case AbortReason::kBadValues:
    case AbortReason::kBadConfig:
    case AbortReason::kPolicyBelowFloor:
      return absl::StatusCode::kInvalidArgument;
    case AbortReason::kCancelled:
      return absl::StatusCode::kCancelled;
    case AbortReason::kLeftOut:
    case AbortReason::kTooFewShareholders:
    case AbortReason::kTooFewSurvivors:
    case AbortReason::kTooFewSignatures:
    case AbortReason::kTooFewUnmaskShares:
    case AbortReason::kSigningFailed:
    case AbortReason::kNotStored:
    case AbortReason::kMergeFailed:
      return absl::StatusCode::kAborted;
    default:
      return absl::StatusCode::kPermissionDenied;
  }
}

}  // namespace

std::string_view AbortReasonName(AbortReason reason) {
  return EntryOf(reason).name;
}

std::string_view AbortReasonText(AbortReason reason) {
  return EntryOf(reason).text;
}

std::optional<AbortReason> AbortReasonFromNumber(uint8_t number) {
  for (const ReasonEntry& entry : kReasons) {
    if (static_cast<uint8_t>(entry.reason) == number) return entry.reason;
  }
  return std::nullopt;
}

std::optional<AbortReason> AbortReasonFromName(std::string_view name) {
  for (const ReasonEntry& entry : kReasons) {
    if (entry.name == name) return entry.reason;
  }
  return std::nullopt;
}

std::optional<AbortReason> ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value() || payload->size() != 1) return std::nullopt;
  return AbortReasonFromNumber(static_cast<uint8_t>((*payload)[0]));
}

absl::Status Refusal(absl::StatusCode code, AbortReason reason, std::string_view detail) {
  absl::Status status(code, fmt::format("{}: {}", AbortReasonName(reason), detail));
  const char number = static_cast<char>(reason);
  status.SetPayload(kPayloadUrl, absl::Cord(absl::string_view(&number, 1)));
  return status;
}

absl::Status Refusal(AbortReason reason, std::string_view detail) {
  return Refusal(CodeOf(reason), reason, detail);
}

}  // namespace choir::secagg
