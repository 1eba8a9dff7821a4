#ifndef CHOIR_PROTO_TRUST_SESSION_TRUST_H_
#define CHOIR_PROTO_TRUST_SESSION_TRUST_H_

// What secure aggregation needs of the federation's trust, and what both ends of the wire must
// agree on about a session.

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/sha256.h"
#include "choir/v1/federation.pb.h"
#include "proto/trust/keys.h"
#include "secure-agg/core/signing.h"

namespace choir::trust {

// A node's id in secure aggregation is its 32-byte id, raw. A credential is the serialised
// SignedDocument of its DeviceCredential.

// Signs session messages with a key of ours, which must outlive it.
class SessionSigner final : public secagg::Signer {
 public:
  explicit SessionSigner(const SigningKey& key) : key_(key) {}
  [[nodiscard]] secagg::PublicKey public_key() const override { return key_.public_key(); }
  [[nodiscard]] absl::StatusOr<secagg::Signature> Sign(
      std::span<const uint8_t> message) const override;

 private:
  const SigningKey& key_;
};

// Checks cohort members' credentials against the manifest.
class SessionVerifier final : public secagg::DeviceVerifier {
 public:
  SessionVerifier(v1::Manifest manifest, absl::Time now)
      : manifest_(std::move(manifest)), now_(now) {}
  [[nodiscard]] absl::Status Verify(const secagg::NodeId& node_id,
                                    const secagg::PublicKey& device_key,
                                    std::span<const uint8_t> credential) const override;

 private:
  v1::Manifest manifest_;
  absl::Time now_;
};

// SessionConfig.lora_digest: SHA-256 of the run configuration's digest, 0x00 and the factors' name
// ("both", "a", "b"), so that a cohort agrees on all that the run's configuration says.
Digest WorkDigest(const Digest& run_config_digest, std::string_view trained_factors,
                  std::string_view basis_digest = {});

// The broadcasts of a session in order: PollSession's `after_stage` and SessionBroadcast's `stage`.
enum class SessionStage : uint32_t {
  kNone = 0,
  kKeyList = 1,
  kShareDelivery = 2,
  kSurvivorList = 3,
  kSurvivorSignatures = 4,
  kRoundResult = 5,
};

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_SESSION_TRUST_H_
