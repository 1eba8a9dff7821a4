#ifndef CHOIR_COORDINATOR_SERVICE_SESSION_H_
#define CHOIR_COORDINATOR_SERVICE_SESSION_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "choir/v1/node.pb.h"
#include "coordinator/round/round_state.h"
#include "coordinator/service/upload.h"
#include "coordinator/store/store.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/server/server_session.h"

namespace choir::coordinator {

// Whose pieces in the store a session's state is.
std::string SessionOwner(std::string_view session_id);

// One cohort's open secure-aggregation session, with its deadlines and its spool of masked inputs.
// Holds no thread and no lock; its owner stores Record() and Changes() before it answers anybody,
// and drops the session once it has a sum or has failed.
class Session {
 public:
  struct Place {
    std::string run_id;
    uint64_t round = 0;
    uint32_t cohort = 0;
    std::vector<NodeId> members;  // sorted: only they may take part
    std::string folder;           // for the spool; made when needed
    absl::Duration stage_wait;
  };
  // Why a session ended without a sum, and what that leaves of its nodes.
  struct Failure {
    std::string reason;
    std::string text;
    std::vector<NodeId> spent;
    std::vector<NodeId> alive;
  };

  // `config` is signed.
  static absl::StatusOr<std::unique_ptr<Session>> Open(
      Place place, const secagg::SessionConfig& config,
      std::unique_ptr<trust::SessionVerifier> verifier, absl::Time now);
  // From its pieces and its spool, after a restart; the stage's wait begins anew.
  static absl::StatusOr<std::unique_ptr<Session>> Restore(
      Place place, const std::vector<PieceRecord>& pieces,
      std::unique_ptr<trust::SessionVerifier> verifier, absl::Time now);

  // A message of one of the members; the errors of ServerSession. UNAVAILABLE while unmasking runs.
  absl::Status Handle(const secagg::DeviceIdentity& from, uint32_t kind,
                      std::span<const uint8_t> body);
  // The upload that this header belongs to, begun if it is new.
  absl::StatusOr<std::shared_ptr<Upload>> BeginUpload(const NodeId& node,
                                                      std::span<const uint8_t> header,
                                                      absl::Time now);
  // Null if the node has not begun.
  [[nodiscard]] std::shared_ptr<Upload> FindUpload(const NodeId& node) const;
  // Counts a complete upload into the sum; fine if it is there already.
  absl::Status CountUpload(const Upload& upload);
  void Withdraw(const NodeId& node);

  // Closes stages that are complete, or whose wait is over; all but the last, which is for
  // TakeForUnmasking. True if it moved.
  bool Advance(absl::Time now);
  // Unmasking may begin, and has not.
  [[nodiscard]] bool ReadyToUnmask(absl::Time now) const;
  [[nodiscard]] absl::Time NextDeadline() const;
  // The state machine goes to whoever does the long computation.
  secagg::ServerSession TakeForUnmasking();
  // It came back without a sum.
  void FailUnmasking(const absl::Status& why);
  void Abort(secagg::AbortReason reason);

  // Set once it failed.
  [[nodiscard]] const std::optional<Failure>& failure() const { return failure_; }
  // What PollSession answers; nothing while there is nothing new.
  [[nodiscard]] std::optional<v1::SessionBroadcast> BroadcastFor(const NodeId& node,
                                                                 uint32_t after_stage) const;
  [[nodiscard]] SessionRecord Record() const;
  // What the store lacks of its state, to be written with Record(); all of a session's pieces are
  // deleted once it is closed.
  [[nodiscard]] Batch::PieceWrite Changes() const;
  // Both are durable.
  void Stored();
  [[nodiscard]] std::string_view StageName() const;
  [[nodiscard]] bool IsMember(const NodeId& node) const;
  [[nodiscard]] const secagg::SessionConfig& config() const { return config_; }
  [[nodiscard]] uint32_t cohort() const { return place_.cohort; }
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] uint32_t Uploaded() const;
  [[nodiscard]] const std::string& folder() const { return place_.folder; }

 private:
  Session(Place place, secagg::ServerSession core, std::unique_ptr<trust::SessionVerifier> verifier,
          absl::Time now);
  [[nodiscard]] bool StageComplete() const;
  [[nodiscard]] absl::Time Deadline() const;
  void Close(absl::Time now);
  void NoteFailure(secagg::ServerStage stage, std::vector<NodeId> answered,
                   const absl::Status& why);
  [[nodiscard]] std::vector<NodeId> Answered() const;
  absl::Status LoadSpool(absl::Time now);
  [[nodiscard]] std::string UploadPath(const NodeId& node) const;

  const Place place_;
  const secagg::SessionConfig config_;
  const std::string id_;
  const std::unique_ptr<trust::SessionVerifier> verifier_;  // core_ points to it
  std::optional<secagg::ServerSession> core_;               // nothing while unmasking runs
  secagg::ServerStage stage_;
  absl::Time stage_began_;
  // shared_ptr: a call may still write to an upload while the session ends.
  std::map<NodeId, std::shared_ptr<Upload>> uploads_;
  std::optional<Failure> failure_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_SESSION_H_
