#ifndef CHOIR_PROTO_TRUST_DOCUMENTS_H_
#define CHOIR_PROTO_TRUST_DOCUMENTS_H_

// Signed documents: serialised messages with an Ed25519 signature, checked before they are parsed.

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include <google/protobuf/message_lite.h>

#include "base/sha256.h"
#include "choir/v1/federation.pb.h"
#include "choir/v1/run.pb.h"
#include "proto/trust/keys.h"

namespace choir::trust {

inline constexpr std::string_view kManifestDomain = "choir/manifest/v1";
inline constexpr std::string_view kDeviceDomain = "choir/device/v1";
inline constexpr std::string_view kRunDomain = "choir/run/v1";
inline constexpr std::string_view kTaskDomain = "choir/task/v1";
inline constexpr std::string_view kAdapterDomain = "choir/adapter/v1";
inline constexpr std::string_view kEnrolDomain = "choir/enrol/v1";
inline constexpr size_t kMaxDocumentBytes = size_t{1} << 20;

v1::SignedDocument SignDocument(const SigningKey& key, std::string_view domain,
                                const google::protobuf::MessageLite& body);

// The body, if `document` is signed by `signer` for `domain`. PERMISSION_DENIED otherwise; the text
// says whether domain, key or signature is wrong.
absl::StatusOr<std::string> OpenDocument(const v1::SignedDocument& document,
                                         std::string_view domain, const PublicKey& signer);

// OpenDocument and parse. DATA_LOSS if the body is no such message.
template <typename Message>
absl::StatusOr<Message> OpenAs(const v1::SignedDocument& document, std::string_view domain,
                               const PublicKey& signer) {
  absl::StatusOr<std::string> body = OpenDocument(document, domain, signer);
  if (!body.ok()) return body.status();
  Message message;
  if (!message.ParseFromString(*body)) {
    return absl::DataLossError("the signed document " + std::string(domain) + " cannot be parsed");
  }
  return message;
}

// SHA-256 of the signed body: how documents name each other.
Digest DocumentDigest(const v1::SignedDocument& document);

// A manifest that `authority` signed for this federation and that has not expired; both keys well
// formed.
absl::StatusOr<v1::Manifest> OpenManifest(const v1::SignedDocument& document,
                                          const PublicKey& authority, absl::Time now);

// Checks that a device key belongs to the federation: credential signed by the manifest's enrolment
// key, right federation, node id = SHA-256 of the key, not expired, not revoked. PERMISSION_DENIED.
absl::StatusOr<v1::DeviceCredential> OpenCredential(const v1::SignedDocument& credential,
                                                    const v1::Manifest& manifest, absl::Time now);

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_DOCUMENTS_H_
