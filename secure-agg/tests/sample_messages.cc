#include "secure-agg/tests/sample_messages.h"

#include <algorithm>

#include "absl/status/statusor.h"

#include "secure-agg/core/messages.h"

namespace choir::secagg {
namespace {

template <typename Message>
bool Exact(std::span<const uint8_t> bytes, const absl::StatusOr<Message>& decoded) {
  return !decoded.ok() || std::ranges::equal(Encode(*decoded), bytes);
}

AdvertiseKeys SampleAdvertise(uint8_t n) {
  AdvertiseKeys message;
  message.session_id = {1, 2, 3};
  message.node_id = "node-" + std::to_string(n);
  message.share_key = {n, 1};
  message.mask_key = {n, 2};
  message.self_mask_commitment = {n, 3};
  message.nonce = {n, 4};
  message.signature = {n, 5};
  return message;
}

SessionConfig SampleConfig() {
  SessionConfig config;
  config.federation_id = "federation";
  config.run_id = "run";
  config.delta_length = 1234;
  config.extra_slots = 3;
  config.expires_at_ms = -5;
  return config;
}

SessionConfig SampleRegularConfig() {
  SessionConfig config = SampleConfig();
  config.graph = GraphKind::kRegular;
  config.threshold_rule = ThresholdRule::kNeighbourhood;
  config.corrupt_percent = 5;
  config.dropout_percent = 20;
  return config;
}

}  // namespace

bool DecodeIsExact(std::span<const uint8_t> bytes) {
  return Exact(bytes, DecodeSessionConfig(bytes)) && Exact(bytes, DecodeAdvertiseKeys(bytes)) &&
         Exact(bytes, DecodeKeyList(bytes)) && Exact(bytes, DecodeShareKeys(bytes)) &&
         Exact(bytes, DecodeShareDelivery(bytes)) && Exact(bytes, DecodeMaskedInputHeader(bytes)) &&
         Exact(bytes, DecodeMaskedInputChunk(bytes)) && Exact(bytes, DecodeSurvivorList(bytes)) &&
         Exact(bytes, DecodeConsistencySignature(bytes)) &&
         Exact(bytes, DecodeSurvivorSignatures(bytes)) && Exact(bytes, DecodeUnmaskShares(bytes)) &&
         Exact(bytes, DecodeRoundResult(bytes)) && Exact(bytes, DecodeNeighbourList(bytes)) &&
         Exact(bytes, DecodeNeighbourDelivery(bytes)) &&
         Exact(bytes, DecodeNeighbourSurvivors(bytes));
}

std::vector<SampleMessage> SampleMessages() {
  const SessionId id = {9, 8, 7};
  const std::vector<SealedShare> sealed = {{"node-1", {1}}, {"node-2", {2}}};
  const KeyList list{id, {{{1}, {1, 2, 3}, SampleAdvertise(1)}, {{2}, {}, SampleAdvertise(2)}}};
  RoundResult result;
  result.federation_id = "federation";
  result.run_id = "run";
  result.contributors = {"node-1", "node-2"};
  return {{"session_config", Encode(SampleConfig())},
          {"advertise_keys", Encode(SampleAdvertise(1))},
          {"key_list", Encode(list)},
          {"share_keys", Encode(ShareKeys{id, "node-3", sealed, {4}})},
          {"share_delivery", Encode(ShareDelivery{id, {"node-1", "node-2", "node-3"}, sealed})},
          {"masked_input_header", Encode(MaskedInputHeader{id, "node-1", 77, 1024, {5}, {6}})},
          {"masked_input_chunk", Encode(MaskedInputChunk{id, "node-1", 2, {7}, {1, 2, 3, 4}})},
          {"survivor_list", Encode(SurvivorList{id, {{"node-1", {1}}}, {"node-2"}})},
          {"consistency_signature", Encode(ConsistencySignature{id, "node-1", {2}, {3}})},
          {"survivor_signatures", Encode(SurvivorSignatures{id, {2}, {{"node-1", {3}}}})},
          {"unmask_shares",
           Encode(UnmaskShares{id, "node-1", {{"node-2", ShareKind::kMaskKey, {4}}}, {5}})},
          {"round_result", Encode(result)},
          {"regular_config", Encode(SampleRegularConfig())},
          {"neighbour_list",
           Encode(NeighbourList{
               id, 40, 10, 7, {8}, {{3, list.entries[0], {{1}, {2}}}, {9, list.entries[1], {}}}})},
          {"neighbour_delivery", Encode(NeighbourDelivery{id, {255, 1}, sealed})},
          {"neighbour_survivors", Encode(NeighbourSurvivors{id, {127, 1}, {5}, {{6}, {7}}})}};
}

}  // namespace choir::secagg
