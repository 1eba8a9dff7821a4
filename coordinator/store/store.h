#ifndef CHOIR_COORDINATOR_STORE_STORE_H_
#define CHOIR_COORDINATOR_STORE_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "coordinator/store/records.h"

namespace choir::coordinator {

// A run and its revision: the number that its next write must name.
struct StoredRun {
  RunRecord record;
  uint64_t revision = 0;
  friend bool operator==(const StoredRun&, const StoredRun&) = default;
};

// One transition: all of it becomes durable, or none.
struct Batch {
  struct RunWrite {
    RunRecord record;
    uint64_t expected_revision = 0;  // 0: the run must be new. The write makes it one more.
  };
  struct InviteUse {
    Digest token_hash{};
    std::string node_id;
  };
  struct PieceWrite {
    std::string owner;
    bool afresh = false;              // first, all that the owner has are deleted
    std::vector<PieceRecord> pieces;  // inserted or replaced; with an empty value: deleted
  };
  std::optional<RunWrite> run;
  std::optional<InviteUse> invite_use;
  std::vector<NodeRecord> nodes;        // inserted or replaced
  std::vector<InviteRecord> invites;    // inserted
  std::vector<SessionRecord> sessions;  // inserted or replaced
  std::vector<PieceWrite> pieces;       // in this order
  std::vector<VersionRecord> versions;  // inserted: a chain never changes
  std::vector<RoundRecord> rounds;      // inserted or replaced
  std::vector<EventRecord> events;      // appended
};

// Where the coordinator's state lives. Thread-safe. Errors of any call:
//   UNAVAILABLE          locked by another program, or the disk fails: try again
//   RESOURCE_EXHAUSTED   no space
//   DATA_LOSS            the store is damaged
class Store {
 public:
  virtual ~Store() = default;

  // Durable (fsynced) when it returns OK; otherwise nothing has changed.
  //   ABORTED              run: another revision than expected
  //   ALREADY_EXISTS       a new run, invite, version or session counter that there is already
  //   NOT_FOUND            invite_use: no such invite
  //   PERMISSION_DENIED    invite_use: another node has used it
  virtual absl::Status Commit(const Batch& batch) = 0;

  virtual absl::StatusOr<std::optional<NodeRecord>> GetNode(std::string_view node_id) = 0;
  // By id.
  virtual absl::StatusOr<std::vector<NodeRecord>> ListNodes() = 0;
  virtual absl::StatusOr<std::optional<InviteRecord>> GetInvite(const Digest& token_hash) = 0;
  // In the order of their start.
  virtual absl::StatusOr<std::vector<StoredRun>> ListRuns() = 0;
  virtual absl::StatusOr<std::optional<SessionRecord>> GetSession(std::string_view session_id) = 0;
  // All of one round, by cohort.
  virtual absl::StatusOr<std::vector<SessionRecord>> ListSessions(std::string_view run_id,
                                                                  uint64_t round) = 0;
  // All of an owner, by key.
  virtual absl::StatusOr<std::vector<PieceRecord>> ListPieces(std::string_view owner) = 0;
  // The highest ever; 0 if there was no session.
  virtual absl::StatusOr<uint64_t> LastSessionCounter() = 0;
  // Those above `after` (-1: all), oldest first.
  virtual absl::StatusOr<std::vector<VersionRecord>> ListVersions(std::string_view run_id,
                                                                  int64_t after,
                                                                  uint32_t limit) = 0;
  // The last one; nothing if there is none.
  virtual absl::StatusOr<std::optional<VersionRecord>> LastVersion(std::string_view run_id) = 0;
  // The last `limit`, oldest first.
  virtual absl::StatusOr<std::vector<RoundRecord>> ListRounds(std::string_view run_id,
                                                              uint32_t limit) = 0;
  virtual absl::StatusOr<std::vector<EventRecord>> ListEvents(uint32_t limit) = 0;
};

struct StoreKind {
  const char* name;
  // `location`: what the kind needs; for sqlite a file, made if it is not there.
  // FAILED_PRECONDITION: the store's schema is newer than this program.
  absl::StatusOr<std::unique_ptr<Store>> (*open)(const std::string& location);
};
// All kinds, the default first.
const std::vector<StoreKind>& StoreKinds();

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STORE_STORE_H_
