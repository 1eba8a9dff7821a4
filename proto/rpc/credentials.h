#ifndef CHOIR_PROTO_RPC_CREDENTIALS_H_
#define CHOIR_PROTO_RPC_CREDENTIALS_H_

// mTLS for both ends, TLS 1.3 and nothing below. Every call but enrolment has a client certificate;
// there is no plaintext mode. Servers call RequireTls13() (proto/rpc/tls_version.h) first.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include <grpcpp/grpcpp.h>

namespace choir::rpc {

struct TlsIdentity {
  std::string certificate_chain_pem;  // leaf first
  std::string private_key_pem;        // PKCS#8; a secret
};

// Requires and verifies a client certificate under `root_pem`.
std::shared_ptr<grpc::ServerCredentials> MutualServerCredentials(std::string_view root_pem,
                                                                 const TlsIdentity& identity);
// Server certificate only: for the enrolment port.
std::shared_ptr<grpc::ServerCredentials> EnrolmentServerCredentials(const TlsIdentity& identity);

// A channel that trusts `root_pem` alone and expects trust::kCoordinatorName. `identity` null:
// enrolment. Limits: messages of at most 4 MiB, keepalive, no proxy.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address, std::string_view root_pem,
                                           const TlsIdentity* identity);

// Who has not shown a certificate by then holds a socket and nothing else; gRPC's default is 120 s.
inline constexpr uint32_t kHandshakeS = 30;

// Limits for a server that faces strangers: message size, streams, metadata, connection age,
// memory, and how long TLS may take to begin.
void ApplyServerLimits(grpc::ServerBuilder& builder, uint32_t handshake_s = kHandshakeS);

// These take the context of a synchronous or of a callback handler.
// Who calls: the verified certificate's common name. UNAUTHENTICATED if there is none.
absl::StatusOr<std::string> PeerCommonName(const grpc::ServerContextBase& context);
// The 32-byte id of a calling node: SHA-256 of the key in its verified certificate, whose name must
// be "node:<hex>". PERMISSION_DENIED for any other caller.
absl::StatusOr<std::string> PeerNodeId(const grpc::ServerContextBase& context);
// PERMISSION_DENIED unless an operator calls: its verified certificate is named "operator:<name>"
// and comes from `root_pem` itself. The enrolment CA, whose key is on the coordinator's machine,
// can make no operators.
absl::Status RequireOperator(const grpc::ServerContextBase& context, std::string_view root_pem,
                             absl::Time now);

// Status conversion, with payloads (reason codes) carried in the error details.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace choir::rpc

#endif  // CHOIR_PROTO_RPC_CREDENTIALS_H_
