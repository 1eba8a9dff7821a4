#ifndef CHOIR_SECURE_AGG_CLIENT_CLIENT_STATE_H_
#define CHOIR_SECURE_AGG_CLIENT_CLIENT_STATE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/secret.h"
#include "secure-agg/client/client_session.h"
#include "secure-agg/core/chunks.h"
#include "secure-agg/core/graph.h"
#include "secure-agg/core/key_agreement.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/sealing.h"

// Inside of ClientSession. What is journalled is the seed, the messages that were accepted, and the
// last one made; all else is computed from these, the same in each life of the process.
namespace choir::secagg {

// All of a node's secrets of one session.
struct ClientKeys {
  SecretBytes<32> s;  // scalar; shared; the pair masks' key comes from it
  SecretBytes<32> b;  // scalar; shared; the own mask's key comes from it
  KeyPair share;      // c
  KeyPair mask;       // of s
  Nonce nonce{};
};
ClientKeys DeriveKeys(const SecretBytes<32>& seed, const Digest& h0);

// What the coordinator tells in each stage, in the form of the session's graph.
using AnyKeyList = std::variant<KeyList, NeighbourList>;
using AnyDelivery = std::variant<ShareDelivery, NeighbourDelivery>;
using AnySurvivors = std::variant<SurvivorList, NeighbourSurvivors>;
absl::StatusOr<AnyKeyList> DecodeKeys(GraphKind graph, std::span<const uint8_t> bytes);
absl::StatusOr<AnyDelivery> DecodeDelivery(GraphKind graph, std::span<const uint8_t> bytes);
absl::StatusOr<AnySurvivors> DecodeSurvivors(GraphKind graph, std::span<const uint8_t> bytes);
template <typename Any>
const SessionId& SessionOf(const Any& message) {
  return std::visit([](const auto& m) -> const SessionId& { return m.session_id; }, message);
}

struct ClientSession::State {
  // Journalled.
  ClientStage stage = ClientStage::kAdvertised;
  std::optional<AbortReason> reason;
  bool spent = false;     // a y was made
  bool uploaded = false;  // and acknowledged
  NodeId self;
  uint32_t min_cohort = 0;  // the larger of the policy's and the configuration's
  SessionConfig config;
  SecretBytes<32> seed;
  std::vector<uint8_t> key_list_bytes;
  std::vector<uint8_t> delivery_bytes;
  Digest input_hash{};
  std::vector<uint8_t> survivors_bytes;
  Digest survivors_digest{};  // outlives survivors_bytes
  std::optional<Digest> h3;
  Digest request_digest{};  // of the SurvivorSignatures that were answered
  std::vector<uint8_t> message;

  // Computed.
  const Signer* signer = nullptr;
  const DeviceVerifier* verifier = nullptr;
  Digest h0{};
  Digest h1{};
  Digest h2{};
  ClientKeys keys;
  KeyList list;  // all of the cohort; in a regular graph this node and its neighbours
  std::vector<uint32_t> places;                // in the cohort, of the list's entries
  CohortGraph graph;                           // of the cohort
  uint32_t index = 0;                          // of this node in the list; so are all indices below
  std::vector<SharePair> own_shares;           // of this node's secrets, by holder
  std::vector<bool> cohort_members;            // U2, by place in the cohort
  std::vector<uint32_t> members;               // U2, those of the list
  std::vector<std::optional<SharePair>> held;  // by owner
  std::vector<uint32_t> survivors;             // U3, those of the list
  std::vector<uint32_t> dropped;               // U2 \ U3, those of the list
  std::optional<ChunkStream> stream;

  [[nodiscard]] bool over() const { return stage >= ClientStage::kAnswered; }
  // max(quorum, the smallest cohort): what U2 and U3 must have.
  [[nodiscard]] uint32_t needed() const;
  [[nodiscard]] MaskShape mask_shape() const;
  [[nodiscard]] const NodeId& IdOf(uint32_t listed) const;

  // Take over what was checked, in a handler, or what was checked in an earlier life, in Restore().
  absl::Status AdoptKeyList(AnyKeyList accepted);
  absl::Status AdoptDelivery(const AnyDelivery& accepted);
  absl::Status AdoptSurvivors(const AnySurvivors& accepted);

  // Parts of the above.
  void SplitOwnSecrets();
  void OpenDelivered(std::span<const SealedShare> shares);

  // A secret of nobody: what remains after the session.
  void Erase();
};

// The checks of one message each, before it is adopted. Pure.
absl::Status CheckKeyList(const ClientSession::State& state, const AnyKeyList& list);
absl::Status CheckDelivery(const ClientSession::State& state, const AnyDelivery& delivery);
absl::Status CheckSurvivors(const ClientSession::State& state, const AnySurvivors& list);
absl::Status CheckSignatures(const ClientSession::State& state, const SurvivorSignatures& message);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CLIENT_CLIENT_STATE_H_
