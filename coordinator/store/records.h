#ifndef CHOIR_COORDINATOR_STORE_RECORDS_H_
#define CHOIR_COORDINATOR_STORE_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "base/sha256.h"

// The rows of a store. Byte strings hold what the layers above encode; a store never looks inside.
// Times are kept to the millisecond.
namespace choir::coordinator {

struct NodeRecord {
  std::string node_id;     // 32 bytes
  std::string device_key;  // 32 bytes
  std::string display_name;
  std::string credential;  // serialised SignedDocument (DeviceCredential)
  absl::Time enrolled;
  absl::Time last_seen;
  friend bool operator==(const NodeRecord&, const NodeRecord&) = default;
};

// The token itself is never stored.
struct InviteRecord {
  Digest token_hash{};
  absl::Time not_after;
  std::string used_by;  // node id; empty while unused
  friend bool operator==(const InviteRecord&, const InviteRecord&) = default;
};

struct RunRecord {
  std::string run_id;
  std::string state;   // "running", "finished", "stopped", "failed"
  std::string reason;  // of an end before its time
  std::string config;  // serialised SignedDocument (RunConfig)
  absl::Time started;
  std::string round;  // EncodeRoundHead() of the present round; its parts are pieces
  uint64_t adapter_version = 0;
  uint32_t abandoned_in_a_row = 0;
  std::string privacy = {};  // RunPrivacy::Encode(): what the run has spent; never goes back
  friend bool operator==(const RunRecord&, const RunRecord&) = default;
};

struct SessionRecord {
  std::string session_id;  // 16 bytes
  std::string run_id;
  uint64_t round = 0;
  uint32_t cohort = 0;
  uint64_t counter = 0;  // SessionConfig.round_counter: above that of every session before
  bool open = true;
  std::string result;  // encoded RoundResult: unsigned once there is a sum, signed once merged
  std::string abort_reason;  // a reason code's name; empty if there is none
  friend bool operator==(const SessionRecord&, const SessionRecord&) = default;
};

// A piece of something large that changes a little at a time: of an owner's pieces, each has a key
// of its own.
struct PieceRecord {
  std::string key;
  std::string value;
  friend bool operator==(const PieceRecord&, const PieceRecord&) = default;
};

struct VersionRecord {
  std::string run_id;
  uint64_t version = 0;
  std::string document;              // serialised SignedDocument (AdapterVersion)
  std::vector<std::string> results;  // encoded, signed RoundResults, in the chain's order
  friend bool operator==(const VersionRecord&, const VersionRecord&) = default;
};

// A round that is going on or over, as operators see it.
struct RoundRecord {
  std::string run_id;
  uint64_t round = 0;
  std::string status;  // serialised RoundStatus
  friend bool operator==(const RoundRecord&, const RoundRecord&) = default;
};

struct EventRecord {
  absl::Time at;
  std::string run_id;  // empty: the federation's
  std::string text;    // key=value, as in the log
  friend bool operator==(const EventRecord&, const EventRecord&) = default;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STORE_RECORDS_H_
