#include "secure-agg/core/messages.h"

#include <cmath>

#include <fmt/format.h>

#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/message_fields.h"
#include "secure-agg/core/wire.h"

namespace choir::secagg {
namespace {

template <typename Message>
std::vector<uint8_t> EncodeMessage(const Message& message) {
  WireWriter writer;
  writer.Number(KindOf(message));
  writer.Number(kMessageVersion);
  Fields(writer, message);
  return std::move(writer).Take();
}

template <typename Message>
absl::StatusOr<Message> DecodeMessage(std::span<const uint8_t> bytes, std::string_view name) {
  Message message;
  WireReader reader(bytes);
  uint8_t kind = 0;
  uint8_t version = 0;
  reader.Number(kind);
  reader.Number(version);
  if (!reader.ok() || kind != KindOf(message)) {
    return Refusal(AbortReason::kMalformedMessage,
                   fmt::format("{} bytes are no {}: kind {}, expected {}", bytes.size(), name, kind,
                               KindOf(message)));
  }
  if (version != kMessageVersion) {
    return Refusal(AbortReason::kMalformedMessage,
                   fmt::format("{} has version {}, this program speaks {}; update the older side",
                               name, version, kMessageVersion));
  }
  Fields(reader, message);
  if (!reader.AtEnd()) {
    return Refusal(AbortReason::kMalformedMessage,
                   fmt::format("{} of {} bytes is cut off, too long, or has a field out of range",
                               name, bytes.size()));
  }
  return message;
}

}  // namespace

#define CHOIR_SECAGG_MESSAGE(Name)                                    \
  std::vector<uint8_t> Encode(const Name& message) {                  \
    return EncodeMessage(message);                                    \
  }                                                                   \
  absl::StatusOr<Name> Decode##Name(std::span<const uint8_t> bytes) { \
    return DecodeMessage<Name>(bytes, #Name);                         \
  }
CHOIR_SECAGG_MESSAGE(SessionConfig)
CHOIR_SECAGG_MESSAGE(AdvertiseKeys)
CHOIR_SECAGG_MESSAGE(KeyList)
CHOIR_SECAGG_MESSAGE(ShareKeys)
CHOIR_SECAGG_MESSAGE(ShareDelivery)
CHOIR_SECAGG_MESSAGE(MaskedInputHeader)
CHOIR_SECAGG_MESSAGE(MaskedInputChunk)
CHOIR_SECAGG_MESSAGE(SurvivorList)
CHOIR_SECAGG_MESSAGE(ConsistencySignature)
CHOIR_SECAGG_MESSAGE(SurvivorSignatures)
CHOIR_SECAGG_MESSAGE(UnmaskShares)
CHOIR_SECAGG_MESSAGE(RoundResult)
CHOIR_SECAGG_MESSAGE(NeighbourList)
CHOIR_SECAGG_MESSAGE(NeighbourDelivery)
CHOIR_SECAGG_MESSAGE(NeighbourSurvivors)
#undef CHOIR_SECAGG_MESSAGE

}  // namespace choir::secagg
