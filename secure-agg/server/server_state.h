#ifndef CHOIR_SECURE_AGG_SERVER_SERVER_STATE_H_
#define CHOIR_SECURE_AGG_SERVER_SERVER_STATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "secure-agg/core/graph.h"
#include "secure-agg/core/key_agreement.h"
#include "secure-agg/core/merkle.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/server/server_session.h"

// Inside of ServerSession: what each node has sent, the current broadcast's parts, the accumulator.
namespace choir::secagg {

// What one node has given so far. The messages are those that were accepted, as sent.
struct Participant {
  PublicKey device_key{};
  std::vector<uint8_t> credential;
  std::optional<AdvertiseKeys> advertised;
  std::optional<ShareKeys> shared;
  std::optional<MaskedInputHeader> input;  // its y is counted
  bool accumulated = false;                // and in the accumulator of this process
  std::optional<ConsistencySignature> vouched;
  std::optional<UnmaskShares> answered;
  bool withdrawn = false;
};

// The first byte of a piece's key; a node's id follows.
enum class PieceKind : uint8_t {
  kHead = 'H',
  kConfig = 'C',
  kAdvertised = 'a',
  kShared = 's',
  kInput = 'i',
  kVouched = 'v',
  kAnswered = 'u',
  kWithdrawn = 'w',
};

struct ServerSession::State {
  ServerStage stage = ServerStage::kAdvertising;
  std::optional<AbortReason> reason;
  SessionConfig config;
  std::map<NodeId, Participant> nodes;  // sorted, as every list of the protocol
  std::vector<uint8_t> accumulator;     // sum of y, from kMasking on; in kDone the sum of x

  // What the store lacks, by key; and what it holds once it has that: so many pieces beside the
  // head, the XOR of whose hashes is `pieces_check`.
  std::map<std::string, std::vector<uint8_t>> unstored;
  uint32_t num_pieces = 0;
  Digest pieces_check{};

  // Computed from the messages: a stage's list is who had answered when it closed.
  const DeviceVerifier* verifier = nullptr;
  KeyList list;                   // U1, from kSharing on
  CohortGraph graph;              // of U1
  std::vector<NodeId> members;    // U2, from kMasking on
  SurvivorList survivors;         // U3, from kSigning on
  SurvivorSignatures signatures;  // from kUnmasking on
  // Of a regular graph: the heads of its messages, and what their paths come from.
  NeighbourList neighbour_list;
  NeighbourDelivery neighbour_delivery;
  NeighbourSurvivors neighbour_survivors;
  std::optional<MerkleTree> key_tree;
  std::optional<MerkleTree> input_tree;
  std::optional<SessionSum> sum;  // in kDone
  std::vector<NodeId> liars;      // whom opening the sum named
  Digest h0{};
  Digest h1{};
  Digest h2{};
  Digest h3{};

  [[nodiscard]] bool over() const { return stage >= ServerStage::kDone; }
  [[nodiscard]] bool regular() const { return config.graph == GraphKind::kRegular; }
  // max(quorum, min_cohort) of U1.
  [[nodiscard]] uint32_t needed() const;
  [[nodiscard]] MaskShape mask_shape() const;
  // Who may answer in this stage, and whether one has.
  [[nodiscard]] std::vector<NodeId> Expected() const;
  [[nodiscard]] bool HasAnswered(const NodeId& node) const;
  // Whether the secrets of each node that must be opened have t holders among those that answered
  // in this stage; in kSharing, of each node that answered.
  [[nodiscard]] bool AnswersCover() const;
  // A piece is new, as it now stands in the state; or is about to leave it.
  void Keep(PieceKind kind, const NodeId& id);
  void Forget(PieceKind kind, const NodeId& id);
  // Makes the lists and hashes of the stages that are closed.
  void ComputeTranscript();
  void ComputeRegularTranscript();
  // In kDone: reads the accumulator, which is the sum of x now.
  absl::Status ReadSum();
};

// Opens the secrets that U3's answers hold shares of, takes the masks off `accumulator`, and names
// who lied about shares, also when it fails.
// kBadShare if a secret cannot be opened whichever t shares are tried, kTooFewUnmaskShares if fewer
// are there.
absl::Status RemoveMasks(ServerSession::State& state, ParallelFor parallel);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_SERVER_SERVER_STATE_H_
