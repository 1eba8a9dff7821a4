#ifndef CHOIR_SECURE_AGG_CLIENT_CLIENT_SESSION_H_
#define CHOIR_SECURE_AGG_CLIENT_CLIENT_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/parallel.h"
#include "base/secret.h"
#include "secure-agg/client/client_policy.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/secret_buffer.h"
#include "secure-agg/core/signing.h"

namespace choir::secagg {

// What a node must do after a message: make the journal durable, then send the message. The order
// is in the type: the message comes out only after `persist` has said OK.
class Step {
 public:
  // Writes the journal (secret: mode 0600) and fsyncs it.
  using Persist = absl::FunctionRef<absl::Status(std::span<const uint8_t> journal)>;

  Step(SecretBuffer journal, std::vector<uint8_t> message)
      : journal_(std::move(journal)), message_(std::move(message)) {}

  // The bytes to send; empty where the node has nothing to say. The error of `persist` otherwise.
  absl::StatusOr<std::vector<uint8_t>> Release(Persist persist) &&;

 private:
  SecretBuffer journal_;
  std::vector<uint8_t> message_;
};

enum class ClientStage : uint8_t {
  kAdvertised = 1,  // AdvertiseKeys made; waits for the KeyList
  kShared = 2,      // ShareKeys made; waits for the ShareDelivery
  kReady = 3,       // waits for the node's own values: MaskInput()
  kMasked = 4,      // y made; chunks go out; waits for the SurvivorList
  kSigned = 5,      // waits for the SurvivorSignatures
  kAnswered = 6,    // over: UnmaskShares made, secrets erased, the answer kept to be sent again
  kClosed = 7,      // over: a tombstone
  kAborted = 8,     // over: a tombstone with a reason
};
std::string_view ClientStageName(ClientStage stage);

// One node's side of one secure-aggregation session: Bonawitz et al., CCS 2017, the variant against
// a malicious server, with every mask bound to the adapter. Pure: no clock, file, network or random
// source; deterministic in (configuration, seed, messages, values). Not thread-safe.
//
//   ASSIGN(ClientSession session, ClientSession::Start(config_bytes, context, policy, signer,
//   verifier,
//                                                      std::move(seed)));        // 32 fresh bytes
//   auto persist = [&](std::span<const uint8_t> journal) {
//     return AtomicWriteSecretFile(path, AsChars(journal));
//   };
//   auto send = [&](absl::StatusOr<Step> step) -> absl::Status {
//     if (!step.ok()) {                            // refused; the tombstone must outlive a crash,
//     too
//       RETURN_IF_ERROR(persist(session.Snapshot().Expose()));
//       return step.status();                      // ReasonOf(status) says why
//     }
//     ASSIGN(std::vector<uint8_t> message, std::move(*step).Release(persist));
//     return message.empty() ? absl::OkStatus() : rpc.Send(message);
//   };
//   RETURN_IF_ERROR(send(session.CurrentStep()));                         // AdvertiseKeys
//   RETURN_IF_ERROR(send(session.HandleKeyList(rpc.Receive())));          // ShareKeys
//   RETURN_IF_ERROR(send(session.HandleShareDelivery(rpc.Receive())));    // nothing to send
//   RETURN_IF_ERROR(send(session.MaskInput(values)));                     // MaskedInputHeader
//   for (uint32_t i = rpc.NextWanted(); i < session.num_chunks(); ++i) {
//     RETURN_IF_ERROR(rpc.Send(*session.Chunk(i)));                       // resumable at any i
//   }
//   RETURN_IF_ERROR(send(session.MarkUploaded()));                        // all chunks
//   acknowledged RETURN_IF_ERROR(send(session.HandleSurvivorList(rpc.Receive())));     //
//   ConsistencySignature RETURN_IF_ERROR(send(session.HandleSurvivorSignatures(rpc.Receive()))); //
//   UnmaskShares RETURN_IF_ERROR(send(session.Close()));                               // answer
//   acknowledged
//
// After a crash: Restore(journal), then CurrentStep() gives the identical last message. In kMasked
// the caller gives MaskInput() the same values again (it must have kept them on disk from before
// the first call); they must make the same y. Never restore a journal from a backup, and never
// start a session id that has a journal.
//
// A handler answers the identical message with the identical step, so repeats are harmless.
//   FAILED_PRECONDITION  the message does not fit the stage; the session goes on
//   DATA_LOSS            with kMalformedMessage: does not decode; the session goes on
//   anything else        the session is over: stage() is kAborted, secrets are erased
class ClientSession {
 public:
  struct State;  // opaque

  // Checks the configuration (A0) and makes the keys. `signer` and `verifier` must outlive the
  // session. On an error nothing was made and there is no journal to keep.
  static absl::StatusOr<ClientSession> Start(std::span<const uint8_t> config,
                                             const ClientContext& context,
                                             const ClientPolicy& policy, const Signer& signer,
                                             const DeviceVerifier& verifier, SecretBytes<32> seed);
  // DATA_LOSS (kDamagedJournal) for anything but a journal that this class wrote.
  static absl::StatusOr<ClientSession> Restore(std::span<const uint8_t> journal,
                                               const Signer& signer,
                                               const DeviceVerifier& verifier);

  ClientSession(ClientSession&&) noexcept;
  ClientSession& operator=(ClientSession&&) noexcept;
  ~ClientSession();

  // The step of the current stage, for the first time or again. SessionOver in kClosed, kAborted.
  absl::StatusOr<Step> CurrentStep() const;
  // R1: all the cohort's keys.
  absl::StatusOr<Step> HandleKeyList(std::span<const uint8_t> bytes);
  // R2: who shared, and this node's shares of their secrets.
  absl::StatusOr<Step> HandleShareDelivery(std::span<const uint8_t> bytes);
  // R2: encodes and masks. Values that do not encode (kBadValues) end the session. `parallel` may
  // run parts of it at the same time; the bytes are the same.
  absl::StatusOr<Step> MaskInput(const ClientValues& values, ParallelFor parallel = RunInOrder);
  // R2: the coordinator acknowledged the whole y. From here on, being declared dropped is a cheat.
  absl::StatusOr<Step> MarkUploaded();
  // R3: whose inputs are in the sum.
  absl::StatusOr<Step> HandleSurvivorList(std::span<const uint8_t> bytes);
  // R4: proof that the cohort saw one and the same list.
  absl::StatusOr<Step> HandleSurvivorSignatures(std::span<const uint8_t> bytes);
  // The coordinator acknowledged the answer; only a tombstone stays. Nothing to send.
  absl::StatusOr<Step> Close();
  // Ends the session wherever it is, and erases its secrets. Nothing to send; fine when over.
  Step Abandon(AbortReason reason);

  // After MaskInput() in this process; 0 before, and after a restart until it is called again.
  [[nodiscard]] uint32_t num_chunks() const;
  // An encoded MaskedInputChunk. FAILED_PRECONDITION before MaskInput(), OUT_OF_RANGE.
  [[nodiscard]] absl::StatusOr<std::vector<uint8_t>> Chunk(uint32_t sequence) const;

  // Whether MarkUploaded() was called, in this life or an earlier one.
  [[nodiscard]] bool uploaded() const;
  // Frees y, m words, once nobody will ask for a chunk again; num_chunks() is 0 from then on.
  void ForgetInput();

  // The journal of the current state: what Restore() takes.
  [[nodiscard]] SecretBuffer Snapshot() const;
  [[nodiscard]] ClientStage stage() const;
  [[nodiscard]] const SessionId& session_id() const;
  // To be kept (durably) as the context's last_round_counter from Start() on.
  [[nodiscard]] uint64_t round_counter() const;
  // In kAborted.
  [[nodiscard]] std::optional<AbortReason> abort_reason() const;
  // True once a y was made: the delta is spent, and no other session may have it.
  [[nodiscard]] bool input_spent() const;
  // Set from kSigned on, also in the tombstone: what a RoundResult must name.
  [[nodiscard]] std::optional<Digest> h3() const;
  [[nodiscard]] const Digest& adapter_hash() const;
  [[nodiscard]] const SessionConfig& config() const;

  // The sum that this node helped to open is the one that the result speaks of. kResultMismatch.
  [[nodiscard]] absl::Status CheckResult(const RoundResult& result) const;

 private:
  explicit ClientSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CLIENT_CLIENT_SESSION_H_
