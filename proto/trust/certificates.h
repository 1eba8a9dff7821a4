#ifndef CHOIR_PROTO_TRUST_CERTIFICATES_H_
#define CHOIR_PROTO_TRUST_CERTIFICATES_H_

// X.509 certificates over Ed25519 keys for TLS. One private root a federation: the authority's key.
//   root (authority) -> coordinator's leaf, operators' leaves, enrolment CA -> nodes' leaves
// A certificate's subject says who it is for: CN = "coordinator", "operator:<name>" or "node:<id in
// hex>".

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "proto/trust/keys.h"

namespace choir::trust {

// The DNS name in the coordinator's certificate, at whatever address it listens: nodes check this
// name under the federation's own root.
inline constexpr std::string_view kCoordinatorName = "coordinator.choir.internal";

struct Validity {
  absl::Time not_before;
  absl::Time not_after;
};

// All return PEM. INTERNAL if OpenSSL refuses.
absl::StatusOr<std::string> IssueRoot(const SigningKey& authority, std::string_view federation_name,
                                      const Validity& validity, RandomSource& random);
absl::StatusOr<std::string> IssueEnrolmentCa(const SigningKey& authority, std::string_view root_pem,
                                             const PublicKey& enrolment_key,
                                             const Validity& validity, RandomSource& random);
// Server (and client) authentication, with kCoordinatorName.
absl::StatusOr<std::string> IssueCoordinator(const SigningKey& authority, std::string_view root_pem,
                                             const PublicKey& key, const Validity& validity,
                                             RandomSource& random);
// `name`: 1 to 48 of [a-z0-9-]. Client authentication.
absl::StatusOr<std::string> IssueOperator(const SigningKey& authority, std::string_view root_pem,
                                          const PublicKey& key, std::string_view name,
                                          const Validity& validity, RandomSource& random);
absl::StatusOr<std::string> IssueNode(const SigningKey& enrolment,
                                      std::string_view enrolment_ca_pem,
                                      const PublicKey& device_key, const Validity& validity,
                                      RandomSource& random);

struct CertificateInfo {
  std::string common_name;
  PublicKey public_key{};
  absl::Time not_before;
  absl::Time not_after;
};
// The first certificate in the PEM text. DATA_LOSS if it is none, or has no Ed25519 key.
absl::StatusOr<CertificateInfo> ParseCertificate(std::string_view pem);

absl::StatusOr<std::string> PemToDer(std::string_view pem);
absl::StatusOr<std::string> DerToPem(std::string_view der);

// Does `chain_pem` (leaf first) lead to `root_pem` at `now`? PERMISSION_DENIED says why not.
absl::Status VerifyChain(std::string_view chain_pem, std::string_view root_pem, absl::Time now);

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_CERTIFICATES_H_
