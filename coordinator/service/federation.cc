#include "coordinator/service/federation.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/expiry.h"

namespace choir::coordinator {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 20;

// The same code, with the file's name in front.
absl::Status In(const std::string& file, const absl::Status& status) {
  return {status.code(), fmt::format("{}: {}", file, std::string(status.message()))};
}

template <typename T>
absl::StatusOr<T> In(const std::string& file, absl::StatusOr<T> value) {
  if (!value.ok()) return In(file, value.status());
  return value;
}

absl::StatusOr<v1::SignedDocument> ReadDocument(const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxFileBytes));
  v1::SignedDocument document;
  if (!document.ParseFromString(bytes)) {
    return absl::DataLossError(fmt::format("{}: no signed document", path));
  }
  return document;
}

absl::Status CheckKey(const std::string& file, std::string_view named,
                      const trust::PublicKey& have) {
  if (named == AsChars(have)) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "{}: the manifest names another key; was the folder put together from two?", file));
}

}  // namespace

absl::StatusOr<Federation> LoadFederation(const DataFolder& folder, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(trust::SigningKey coordinator_key,
                         trust::SigningKey::Load(folder.CoordinatorKey(), ""));
  CHOIR_ASSIGN_OR_RETURN(trust::SigningKey enrolment_key,
                         trust::SigningKey::Load(folder.EnrolmentKey(), ""));
  CHOIR_ASSIGN_OR_RETURN(const trust::SigningKey tls_key,
                         trust::SigningKey::Load(folder.TlsKey(), ""));
  Federation federation{
      std::move(coordinator_key), std::move(enrolment_key), {}, {}, {}, {}, {}, {}};
  CHOIR_ASSIGN_OR_RETURN(federation.root_pem, ReadFile(folder.Root(), kMaxFileBytes));
  CHOIR_ASSIGN_OR_RETURN(federation.enrolment_ca_pem,
                         ReadFile(folder.EnrolmentCa(), kMaxFileBytes));
  CHOIR_ASSIGN_OR_RETURN(federation.tls.certificate_chain_pem,
                         ReadFile(folder.TlsCertificate(), kMaxFileBytes));
  federation.tls.private_key_pem = tls_key.ToPkcs8Pem();
  CHOIR_ASSIGN_OR_RETURN(const trust::CertificateInfo root,
                         In(folder.Root(), trust::ParseCertificate(federation.root_pem)));
  federation.authority = root.public_key;
  CHOIR_RETURN_IF_ERROR(
      In(folder.TlsCertificate(),
         trust::VerifyChain(federation.tls.certificate_chain_pem, federation.root_pem, now)));
  CHOIR_RETURN_IF_ERROR(In(folder.EnrolmentCa(), trust::VerifyChain(federation.enrolment_ca_pem,
                                                                    federation.root_pem, now)));
  CHOIR_ASSIGN_OR_RETURN(federation.manifest_document, ReadDocument(folder.Manifest()));
  CHOIR_ASSIGN_OR_RETURN(federation.manifest,
                         In(folder.Manifest(), trust::OpenManifest(federation.manifest_document,
                                                                   federation.authority, now)));
  CHOIR_RETURN_IF_ERROR(CheckKey(folder.CoordinatorKey(), federation.manifest.coordinator_key(),
                                 federation.coordinator_key.public_key()));
  CHOIR_RETURN_IF_ERROR(CheckKey(folder.EnrolmentKey(), federation.manifest.enrolment_key(),
                                 federation.enrolment_key.public_key()));
  return federation;
}

std::vector<std::string> ExpiryWarnings(const Federation& federation, const v1::Manifest& manifest,
                                        absl::Time now) {
  std::vector<std::string> out;
  const auto look = [&](std::string_view what, absl::Time not_after) {
    std::string warning = trust::ExpiryWarning(what, not_after, now);
    if (!warning.empty()) out.push_back(std::move(warning));
  };
  const auto tls = trust::ParseCertificate(federation.tls.certificate_chain_pem);
  if (tls.ok()) look("the coordinator's certificate", tls->not_after);
  const auto enrolment = trust::ParseCertificate(federation.enrolment_ca_pem);
  if (enrolment.ok()) look("the enrolment certificate", enrolment->not_after);
  const auto root = trust::ParseCertificate(federation.root_pem);
  if (root.ok()) look("the federation's root certificate", root->not_after);
  look("the manifest", absl::FromUnixSeconds(manifest.not_after_unix_s()));
  return out;
}

}  // namespace choir::coordinator
