#ifndef CHOIR_SECURE_AGG_SERVER_SERVER_SESSION_H_
#define CHOIR_SECURE_AGG_SERVER_SERVER_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/parallel.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/signing.h"

namespace choir::secagg {

enum class ServerStage : uint8_t {
  kAdvertising = 1,  // collects AdvertiseKeys; tells SessionConfig
  kSharing = 2,      // collects ShareKeys; tells KeyList
  kMasking = 3,      // collects masked inputs; tells ShareDelivery
  kSigning = 4,      // collects ConsistencySignatures; tells SurvivorList
  kUnmasking = 5,    // collects UnmaskShares; tells SurvivorSignatures
  kDone = 6,         // the sum is there
  kAborted = 7,
};
std::string_view ServerStageName(ServerStage stage);

// How far a node has come.
enum class NodeState : uint8_t {
  kUnknown = 0,  // not of this session
  kAdvertised = 1,
  kShared = 2,
  kIncluded = 3,  // its y is in the accumulator
  kSigned = 4,
  kAnswered = 5,  // its shares are here
  kDropped = 6,   // missed a stage, or withdrew before its input
};

// A device as the transport authenticated it.
struct DeviceIdentity {
  NodeId node_id;
  PublicKey device_key{};
  std::vector<uint8_t> credential;
};

struct SessionSum {
  std::vector<uint8_t> packed;       // for DecodeSum(); PackedBytes() long
  Digest sum_hash{};                 // SHA-256 of packed
  std::vector<NodeId> contributors;  // U3
  Digest h3{};
  CohortSum cohort;
};

// One piece of a session's durable state: what a store keeps under `key` as long as the session is
// open. An empty value: the piece is gone. The accumulator (m words) is in none of them.
struct SessionPiece {
  std::string key;
  std::vector<uint8_t> value;
  friend bool operator==(const SessionPiece&, const SessionPiece&) = default;
};

// The coordinator's side of one secure-aggregation session. Pure, like ClientSession; not
// thread-safe. It holds one accumulator of m words, however many nodes there are. It knows no time:
// the caller closes a stage when everybody has answered (StageComplete()) or when waiting is no
// longer worth it.
//
//   ASSIGN(ServerSession session, ServerSession::Open(signed_config, verifier));
//   // on each message; `node` is who the transport says it is
//   RETURN_IF_ERROR(session.AddAdvertiseKeys(identity, bytes));     // kAdvertising
//   RETURN_IF_ERROR(session.AddShareKeys(node, bytes));             // kSharing
//   ASSIGN(MaskedInputHeader header, session.CheckInputHeader(node, bytes));   // kMasking
//   ChunkAssembler assembler(header);                               // one per upload
//   ASSIGN(bool fresh, assembler.Accept(chunk));                    // then
//   spool.Append(chunk.data) if (assembler.complete()) RETURN_IF_ERROR(session.AddInput(node,
//   header_bytes, spool.Read())); RETURN_IF_ERROR(session.AddConsistencySignature(node, bytes)); //
//   kSigning RETURN_IF_ERROR(session.AddUnmaskShares(node, bytes));          // kUnmasking
//   store.Write(session.Changes()), session.Stored();               // before each acknowledgement
//   // on each tick
//   if (session.StageComplete() || deadline_passed) {
//     absl::Status closed = session.CloseStage();                   // next stage, or kAborted
//     store.Write(session.Changes()), session.Stored();             // before MessageFor() is sent
//     for (const NodeId& node : session.Waiting()) Send(node, *session.MessageFor(node));
//   }
//   if (session.stage() == ServerStage::kDone) {
//     ASSIGN(SessionSum sum, std::move(session).TakeSum());         // sum.cohort.mean_delta, ...
//   }
//
// Add...() is idempotent: the identical message again is OK and changes nothing. A different second
// message of a node, a bad one, or a late one (kTooLate) is refused, and the session goes on
// without it. Restarted coordinators call Restore(), give AddInput() each of InputsToReplay() again
// from its spool, and go on.
class ServerSession {
 public:
  struct State;  // opaque

  // `config` must be signed already (SignConfig). `verifier` must outlive the session. kBadConfig.
  static absl::StatusOr<ServerSession> Open(const SessionConfig& config,
                                            const DeviceVerifier& verifier);
  // From all pieces that were stored, in any order. kDamagedJournal.
  static absl::StatusOr<ServerSession> Restore(std::span<const SessionPiece> pieces,
                                               const DeviceVerifier& verifier);

  ServerSession(ServerSession&&) noexcept;
  ServerSession& operator=(ServerSession&&) noexcept;
  ~ServerSession();

  absl::Status AddAdvertiseKeys(const DeviceIdentity& identity, std::span<const uint8_t> bytes);
  absl::Status AddShareKeys(const NodeId& node, std::span<const uint8_t> bytes);
  // Before any chunk: signature, sizes, and no other y of this node.
  absl::StatusOr<MaskedInputHeader> CheckInputHeader(const NodeId& node,
                                                     std::span<const uint8_t> header) const;
  // `packed`: the whole y, read in one pass; its hash must be the header's. Adds it once and only
  // once.
  absl::Status AddInput(const NodeId& node, std::span<const uint8_t> header,
                        std::span<const uint8_t> packed);
  absl::Status AddConsistencySignature(const NodeId& node, std::span<const uint8_t> bytes);
  absl::Status AddUnmaskShares(const NodeId& node, std::span<const uint8_t> bytes);

  // The node gave up or was cancelled: nobody waits for it any more. What it already gave stays in
  // (an included y cannot be taken out). kUnknownMember.
  absl::Status Withdraw(const NodeId& node);

  // All that the stage can still get is here; in kAdvertising, max_cohort nodes are.
  [[nodiscard]] bool StageComplete() const;
  // Enough is here for CloseStage() to succeed.
  [[nodiscard]] bool CanClose() const;
  // Answers of this stage so far, and how many CloseStage() needs.
  [[nodiscard]] uint32_t answered() const;
  [[nodiscard]] uint32_t needed() const;
  // Goes to the next stage with the nodes that answered; in kUnmasking, reconstructs and removes
  // the masks (O(n m) work without drop-outs, O(d n m) with d). Too few: kAborted, and the reason.
  // FAILED_PRECONDITION without a change if inputs wait to be replayed, or the session is over.
  // `parallel` may open secrets and remove masks at the same time.
  absl::Status CloseStage(ParallelFor parallel = RunInOrder);
  // Ends the session. Fine when it is over already.
  void Abort(AbortReason reason);

  // What the current stage tells `node`: the same bytes every time. kLeftOut if the session goes on
  // without it; SessionOver when it ended.
  [[nodiscard]] absl::StatusOr<std::vector<uint8_t>> MessageFor(const NodeId& node) const;
  // Nodes whose answer the stage still lacks (empty in kAdvertising, where anybody may come).
  [[nodiscard]] std::vector<NodeId> Waiting() const;
  [[nodiscard]] NodeState StateOf(const NodeId& node) const;
  [[nodiscard]] std::vector<NodeId> Members() const;

  // The pieces that the store lacks: their size is that of the messages since Stored(), and a small
  // head, however large the cohort is. All of them must become durable at once.
  [[nodiscard]] std::vector<SessionPiece> Changes() const;
  // What Changes() gave is durable.
  void Stored();
  // Included nodes whose y the accumulator lacks, after Restore().
  [[nodiscard]] std::vector<NodeId> InputsToReplay() const;

  [[nodiscard]] ServerStage stage() const;
  [[nodiscard]] const SessionConfig& config() const;
  [[nodiscard]] std::optional<AbortReason> abort_reason() const;
  // After kUnmasking, whether it succeeded or not: who dealt bad shares, or gave back other ones
  // than it got, as far as that can be told (liars.h). Sorted.
  [[nodiscard]] const std::vector<NodeId>& liars() const;
  // In kDone; once.
  absl::StatusOr<SessionSum> TakeSum() &&;

 private:
  explicit ServerSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_SERVER_SERVER_SESSION_H_
