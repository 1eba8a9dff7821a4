#include "proto/trust/documents.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"

namespace choir::trust {

v1::SignedDocument SignDocument(const SigningKey& key, std::string_view domain,
                                const google::protobuf::MessageLite& body) {
  v1::SignedDocument document;
  document.set_domain(std::string(domain));
  document.set_body(body.SerializeAsString());
  document.set_signer_key(std::string(AsChars(key.public_key())));
  document.set_signature(std::string(AsChars(key.Sign(domain, AsBytes(document.body())))));
  return document;
}

absl::StatusOr<std::string> OpenDocument(const v1::SignedDocument& document,
                                         std::string_view domain, const PublicKey& signer) {
  if (document.body().size() > kMaxDocumentBytes) {
    return absl::ResourceExhaustedError(fmt::format("a signed document of {} bytes; at most {}",
                                                    document.body().size(), kMaxDocumentBytes));
  }
  if (document.domain() != domain) {
    return absl::PermissionDeniedError(
        fmt::format("expected a document signed for {}, got another kind", domain));
  }
  if (document.signer_key() != AsChars(signer)) {
    return absl::PermissionDeniedError(
        fmt::format("the document for {} is signed by a foreign key", domain));
  }
  if (!VerifySignature(signer, domain, AsBytes(document.body()), AsBytes(document.signature()))) {
    return absl::PermissionDeniedError(
        fmt::format("the signature of the document for {} is wrong", domain));
  }
  return document.body();
}

Digest DocumentDigest(const v1::SignedDocument& document) {
  return Sha256Of(std::string_view(document.body()));
}

absl::StatusOr<v1::Manifest> OpenManifest(const v1::SignedDocument& document,
                                          const PublicKey& authority, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(v1::Manifest manifest,
                         OpenAs<v1::Manifest>(document, kManifestDomain, authority));
  if (manifest.federation_id() != AsChars(IdOf(authority))) {
    return absl::PermissionDeniedError("the manifest belongs to another federation");
  }
  if (absl::FromUnixSeconds(manifest.not_after_unix_s()) < now) {
    return absl::PermissionDeniedError(
        "the federation's manifest has expired: its operator must sign a new one");
  }
  CHOIR_RETURN_IF_ERROR(PublicKeyFrom(AsBytes(manifest.coordinator_key())).status());
  CHOIR_RETURN_IF_ERROR(PublicKeyFrom(AsBytes(manifest.enrolment_key())).status());
  return manifest;
}

absl::StatusOr<v1::DeviceCredential> OpenCredential(const v1::SignedDocument& document,
                                                    const v1::Manifest& manifest, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(const PublicKey signer, PublicKeyFrom(AsBytes(manifest.enrolment_key())));
  CHOIR_ASSIGN_OR_RETURN(v1::DeviceCredential credential,
                         OpenAs<v1::DeviceCredential>(document, kDeviceDomain, signer));
  CHOIR_ASSIGN_OR_RETURN(const PublicKey key, PublicKeyFrom(AsBytes(credential.device_key())));
  if (credential.federation_id() != manifest.federation_id()) {
    return absl::PermissionDeniedError("the device credential belongs to another federation");
  }
  if (credential.node_id() != AsChars(IdOf(key))) {
    return absl::PermissionDeniedError("the device credential's node id is not that of its key");
  }
  if (absl::FromUnixSeconds(credential.not_after_unix_s()) < now) {
    return absl::PermissionDeniedError("the device credential has expired");
  }
  const auto& revoked = manifest.revoked_node_ids();
  if (std::find(revoked.begin(), revoked.end(), credential.node_id()) != revoked.end()) {
    return absl::PermissionDeniedError("the device is revoked");
  }
  return credential;
}

}  // namespace choir::trust
