#include "proto/trust/session_trust.h"

#include "base/file.h"
#include "base/status_macros.h"
#include "proto/trust/documents.h"

namespace choir::trust {

absl::StatusOr<secagg::Signature> SessionSigner::Sign(std::span<const uint8_t> message) const {
  return key_.SignRaw(message);
}

absl::Status SessionVerifier::Verify(const secagg::NodeId& node_id,
                                     const secagg::PublicKey& device_key,
                                     std::span<const uint8_t> credential) const {
  v1::SignedDocument document;
  if (credential.size() > kMaxDocumentBytes ||
      !document.ParseFromArray(credential.data(), static_cast<int>(credential.size()))) {
    return absl::PermissionDeniedError("a cohort member's credential cannot be parsed");
  }
  CHOIR_ASSIGN_OR_RETURN(const v1::DeviceCredential opened,
                         OpenCredential(document, manifest_, now_));
  if (opened.node_id() != node_id || opened.device_key() != AsChars(device_key)) {
    return absl::PermissionDeniedError("a cohort member's credential is for another device");
  }
  return absl::OkStatus();
}

Digest WorkDigest(const Digest& run_config_digest, std::string_view trained_factors,
                  std::string_view basis_digest) {
  return Sha256()
      .Update(run_config_digest)
      .Update(std::string_view("\0", 1))
      .Update(trained_factors)
      .Update(basis_digest)
      .Finish();
}

}  // namespace choir::trust
