#ifndef CHOIR_SECURE_AGG_TESTS_COHORT_H_
#define CHOIR_SECURE_AGG_TESTS_COHORT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/random.h"
#include "base/secret.h"
#include "secure-agg/client/client_session.h"
#include "secure-agg/core/signing.h"
#include "secure-agg/server/server_session.h"

// A whole cohort in one thread: keys, values and a coordinator, all from one seed.
namespace choir::secagg {

SecretBytes<32> SeedFrom(std::string_view label, uint64_t number);

// Certifies devices by a signature over id and key: what proto/trust does with certificates.
class TestAuthority final : public DeviceVerifier {
 public:
  explicit TestAuthority(uint64_t seed) : key_(SeedFrom("authority", seed)) {}
  [[nodiscard]] std::vector<uint8_t> Certify(const NodeId& id, const PublicKey& device_key) const;
  [[nodiscard]] absl::Status Verify(const NodeId& id, const PublicKey& device_key,
                                    std::span<const uint8_t> credential) const override;

 private:
  Ed25519Signer key_;
};

struct TestNode {
  NodeId id;
  std::unique_ptr<Ed25519Signer> signer;
  DeviceIdentity identity;
  SecretBytes<32> session_seed;
  std::vector<float> delta;
  std::vector<double> extras;
  uint64_t examples = 0;
  double loss_sum = 0;
  uint64_t token_count = 0;

  [[nodiscard]] ClientValues values() const {
    return {delta, examples, loss_sum, token_count, extras};
  }
};

// What a test may change before the cohort is made.
SessionConfig TestConfig(uint32_t delta_length = 37);
// The same session under differential privacy: noise of multiplier 1, delta 1e-5, one weight for
// all.
void MakePrivate(SessionConfig& config);

// The same on a regular graph, for `max_cohort` nodes of which 5 % may work with the coordinator.
SessionConfig TestRegularConfig(uint32_t delta_length = 37, uint8_t dropout_percent = 10,
                                uint32_t max_cohort = 64);

class TestCohort {
 public:
  // Signs `config` and makes `n` nodes.
  TestCohort(uint32_t n, SessionConfig config, uint64_t seed);

  [[nodiscard]] ClientContext ContextOf(size_t i) const;
  [[nodiscard]] ClientPolicy Policy() const;
  absl::StatusOr<ClientSession> StartClient(size_t i) const;
  // The packed x of node i, as its session encodes it.
  [[nodiscard]] std::vector<uint8_t> PlainInput(size_t i) const;
  // The plain sum over the nodes named.
  [[nodiscard]] std::vector<uint8_t> PlainSum(const std::vector<NodeId>& ids) const;

  SessionConfig config;
  Ed25519Signer coordinator;
  TestAuthority authority;
  std::vector<TestNode> nodes;
};

// The message of a step; fails the test if there is none.
std::vector<uint8_t> Sent(absl::StatusOr<Step> step);
// The reason of a refusal; kSessionOver's number never matches an OK status, which fails the test.
std::optional<AbortReason> ReasonOfStep(const absl::StatusOr<Step>& step);

// A coordinator's store of one session.
class SessionStore {
 public:
  // What the session changed becomes durable.
  void Keep(ServerSession& session);
  // All pieces.
  [[nodiscard]] std::vector<SessionPiece> Pieces() const;

 private:
  std::map<std::string, std::vector<uint8_t>> pieces_;
};

// Plays a session. The stage from which on a node is silent: 0 from the start, 1 shares, 2 input, 3
// signature, 4 unmasking; 5 or absent for never.
class Play {
 public:
  Play(const TestCohort& cohort, std::map<size_t, int> silent_from = {});

  // Each plays one stage and closes it; false once the session is over.
  bool Advertise();
  bool Share();
  bool Mask();
  bool Vouch();
  bool Unmask();
  // All of them.
  void Run();

  // A node's input through chunks and an assembler.
  absl::Status Upload(size_t i);
  // The coordinator dies, and comes back from its store and the spools.
  void RestartServer();
  [[nodiscard]] bool Speaks(size_t i, int stage) const;

  const TestCohort& cohort;
  std::map<size_t, int> silent_from;
  ServerSession server;
  std::vector<std::optional<ClientSession>> clients;
  SessionStore store;
  struct Spool {
    std::vector<uint8_t> header;
    std::vector<uint8_t> input;
  };
  std::map<NodeId, Spool> spools;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_TESTS_COHORT_H_
