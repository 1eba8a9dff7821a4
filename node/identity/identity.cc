#include "node/identity/identity.h"

#include <cstdlib>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"

namespace choir::node {
namespace {

constexpr uint64_t kMaxMembershipBytes = uint64_t{1} << 20;

absl::StatusOr<v1::Membership> ReadMembership(const NodeHome& home) {
  absl::StatusOr<std::string> bytes = ReadFile(home.Membership(), kMaxMembershipBytes);
  if (absl::IsNotFound(bytes.status())) {
    return absl::NotFoundError(
        fmt::format("{} belongs to no federation yet: ask its operator for an invite, then run "
                    "`choir node enrol`",
                    home.path));
  }
  if (!bytes.ok()) return bytes.status();
  v1::Membership membership;
  if (!membership.ParseFromString(*bytes)) {
    return absl::DataLossError(
        fmt::format("{} is damaged: enrol again with a new invite", home.Membership()));
  }
  return membership;
}

}  // namespace

std::string DefaultHome() {
  if (const char* set = std::getenv("CHOIR_HOME"); set != nullptr && *set != '\0') return set;
  const char* user = std::getenv("HOME");
  return std::string(user != nullptr ? user : ".") + "/.local/share/choir";
}

absl::StatusOr<Identity> Identity::Load(const NodeHome& home, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(v1::Membership membership, ReadMembership(home));
  CHOIR_ASSIGN_OR_RETURN(trust::SigningKey key, trust::SigningKey::Load(home.DeviceKey(), ""));
  return Check(std::move(key), std::move(membership), now);
}

absl::StatusOr<Identity> Identity::Create(const NodeHome& home, v1::Membership membership,
                                          absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(trust::SigningKey key, trust::SigningKey::Load(home.DeviceKey(), ""));
  CHOIR_ASSIGN_OR_RETURN(Identity identity, Check(std::move(key), std::move(membership), now));
  CHOIR_RETURN_IF_ERROR(
      AtomicWriteSecretFile(home.Membership(), identity.membership_.SerializeAsString()));
  return identity;
}

absl::StatusOr<Identity> Identity::Check(trust::SigningKey key, v1::Membership membership,
                                         absl::Time now) {
  Identity identity(std::move(key));
  CHOIR_ASSIGN_OR_RETURN(const trust::CertificateInfo root,
                         trust::ParseCertificate(membership.root_pem()));
  CHOIR_RETURN_IF_ERROR(
      trust::VerifyChain(membership.certificate_chain_pem(), membership.root_pem(), now));
  CHOIR_ASSIGN_OR_RETURN(const trust::CertificateInfo leaf,
                         trust::ParseCertificate(membership.certificate_chain_pem()));
  if (leaf.public_key != identity.key_.public_key()) {
    return absl::PermissionDeniedError("the certificate is for another device key");
  }
  CHOIR_ASSIGN_OR_RETURN(identity.manifest_,
                         trust::OpenManifest(membership.manifest(), root.public_key, now));
  CHOIR_ASSIGN_OR_RETURN(
      const v1::DeviceCredential credential,
      trust::OpenCredential(membership.device_credential(), identity.manifest_, now));
  if (credential.device_key() != AsChars(identity.key_.public_key())) {
    return absl::PermissionDeniedError("the device credential is for another device key");
  }
  identity.node_id_ = credential.node_id();
  identity.not_after_ = leaf.not_after;
  identity.membership_ = std::move(membership);
  return identity;
}

absl::Status Identity::Update(const NodeHome& home, const v1::SignedDocument* manifest,
                              const v1::RenewedMembership* renewed, absl::Time now) {
  v1::Membership changed = membership_;
  if (manifest != nullptr) *changed.mutable_manifest() = *manifest;
  if (renewed != nullptr) {
    changed.set_certificate_chain_pem(renewed->certificate_chain_pem());
    *changed.mutable_device_credential() = renewed->device_credential();
  }
  if (changed.SerializeAsString() == membership_.SerializeAsString()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(trust::SigningKey key, trust::SigningKey::Load(home.DeviceKey(), ""));
  CHOIR_ASSIGN_OR_RETURN(Identity checked, Check(std::move(key), std::move(changed), now));
  const bool same_manifest = checked.membership_.manifest().body() == membership_.manifest().body();
  if (!same_manifest && checked.manifest_.serial() <= manifest_.serial()) {
    return absl::PermissionDeniedError(
        fmt::format("the coordinator offers manifest {}, this node has {}",
                    checked.manifest_.serial(), manifest_.serial()));
  }
  CHOIR_RETURN_IF_ERROR(
      AtomicWriteSecretFile(home.Membership(), checked.membership_.SerializeAsString()));
  *this = std::move(checked);
  return absl::OkStatus();
}

rpc::TlsIdentity Identity::tls() const {
  return {membership_.certificate_chain_pem(), key_.ToPkcs8Pem()};
}

}  // namespace choir::node
