#ifndef CHOIR_COORDINATOR_SERVICE_TEST_NODE_H_
#define CHOIR_COORDINATOR_SERVICE_TEST_NODE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/random.h"
#include "choir/v1/enrolment.pb.h"
#include "choir/v1/node.pb.h"
#include "choir/v1/run.pb.h"
#include "proto/trust/keys.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/client/client_session.h"

namespace choir::coordinator {

// A node's calls, however they travel. Unset optionals: nothing yet, ask again.
class NodeCalls {
 public:
  virtual ~NodeCalls() = default;
  virtual absl::StatusOr<v1::CheckInResponse> CheckIn() = 0;
  virtual absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) = 0;
  virtual absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) = 0;
  virtual absl::Status Send(const v1::SessionMessage& message) = 0;
  // The messages of one upload stream.
  virtual absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) = 0;
};

// A node that trains nothing: its delta is a formula, its secure aggregation is the real one. One
// step at a time, so that a test can come between any two.
class TestNode {
 public:
  TestNode(uint64_t number, const std::string& federation_id, RandomSource& random);

  [[nodiscard]] v1::EnrolRequest EnrolRequest(const std::string& token) const;
  void Joined(const v1::EnrolResponse& response);
  [[nodiscard]] const trust::SigningKey& key() const { return key_; }
  [[nodiscard]] const std::string& id() const { return id_; }

  // The next thing that the node can do; false if it only waited. An error of the call as it is.
  absl::StatusOr<bool> Step(NodeCalls& calls, absl::Time now);

  // Results of rounds that it saw published; reasons of sessions that were aborted.
  [[nodiscard]] const std::vector<secagg::RoundResult>& results() const { return results_; }
  [[nodiscard]] const std::vector<std::string>& aborted() const { return aborted_; }
  // What node `number` contributes in a round, at element i.
  static float Delta(uint64_t number, uint64_t round, size_t i);

 private:
  enum class Next : uint8_t { kCheckIn, kJoin, kKeys, kShares, kSurvivors, kSignatures, kResult };
  absl::StatusOr<bool> Take(NodeCalls& calls, absl::Time now);
  absl::StatusOr<bool> Enter(NodeCalls& calls, absl::Time now);
  absl::StatusOr<bool> Follow(NodeCalls& calls);
  absl::Status Answer(NodeCalls& calls, std::span<const uint8_t> body);
  absl::Status Send(NodeCalls& calls, absl::StatusOr<secagg::Step> step);
  absl::Status Upload(NodeCalls& calls);

  const uint64_t number_;
  RandomSource& random_;
  trust::SigningKey key_;
  trust::SessionSigner signer_;
  std::string id_;
  std::string federation_id_;
  v1::Manifest manifest_;
  std::optional<trust::SessionVerifier> verifier_;
  Next next_ = Next::kCheckIn;
  v1::RoundTask task_;
  v1::RunConfig run_;
  v1::AdapterVersion version_;
  Digest run_digest_{};
  std::optional<secagg::ClientSession> session_;
  std::string session_id_;
  uint64_t counter_ = 0;
  std::vector<secagg::RoundResult> results_;
  std::vector<std::string> aborted_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TEST_NODE_H_
