#include "proto/rpc/credentials.h"

#include <vector>

#include <fmt/format.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "proto/rpc/tls_version.h"
#include "proto/trust/certificates.h"
#include "proto/trust/keys.h"

namespace choir::rpc {
namespace {

constexpr int kMaxMessageBytes = 4 << 20;
constexpr int kKeepaliveMs = 60 * 1000;
constexpr int kFirstReconnectMs = 200;
constexpr int kReconnectMaxMs = 10 * 1000;

// The only value of a property of the verified peer.
absl::StatusOr<std::string> PeerProperty(const grpc::ServerContextBase& context, const char* name) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) {
    return absl::UnauthenticatedError("the call bears no verified certificate");
  }
  const std::vector<grpc::string_ref> values = peer->FindPropertyValues(name);
  if (values.size() != 1) {
    return absl::UnauthenticatedError("the caller's certificate does not say who it is for");
  }
  return std::string(values[0].data(), values[0].size());
}

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MutualServerCredentials(std::string_view root_pem,
                                                                 const TlsIdentity& identity) {
  CHOIR_CHECK(RequireTls13().ok());
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = std::string(root_pem);
  options.pem_key_cert_pairs.push_back({identity.private_key_pem, identity.certificate_chain_pem});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::ServerCredentials> EnrolmentServerCredentials(const TlsIdentity& identity) {
  CHOIR_CHECK(RequireTls13().ok());
  grpc::SslServerCredentialsOptions options(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  options.pem_key_cert_pairs.push_back({identity.private_key_pem, identity.certificate_chain_pem});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address, std::string_view root_pem,
                                           const TlsIdentity* identity) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = std::string(root_pem);
  if (identity != nullptr) {
    options.pem_cert_chain = identity->certificate_chain_pem;
    options.pem_private_key = identity->private_key_pem;
  }
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(std::string(trust::kCoordinatorName));
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // The "minimum" backoff is left alone: gRPC takes it for the time that a handshake may last.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  // Channels of several identities in one process must not share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Without credentials gRPC makes a channel on which every call fails.
  return grpc::CreateCustomChannel(
      address, RequireTls13().ok() ? grpc::SslCredentials(options) : nullptr, arguments);
}

absl::StatusOr<std::string> PeerCommonName(const grpc::ServerContextBase& context) {
  return PeerProperty(context, GRPC_X509_CN_PROPERTY_NAME);
}

absl::StatusOr<std::string> PeerNodeId(const grpc::ServerContextBase& context) {
  CHOIR_ASSIGN_OR_RETURN(const std::string name, PeerCommonName(context));
  if (!name.starts_with("node:")) {
    return absl::PermissionDeniedError(fmt::format("this call is for nodes, not for {}", name));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string pem,
                         PeerProperty(context, GRPC_X509_PEM_CERT_PROPERTY_NAME));
  CHOIR_ASSIGN_OR_RETURN(const trust::CertificateInfo certificate, trust::ParseCertificate(pem));
  return std::string(AsChars(trust::IdOf(certificate.public_key)));
}

absl::Status RequireOperator(const grpc::ServerContextBase& context, std::string_view root_pem,
                             absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(const std::string name, PeerCommonName(context));
  if (!name.starts_with("operator:")) {
    return absl::PermissionDeniedError(fmt::format("this call is for operators, not for {}", name));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string leaf,
                         PeerProperty(context, GRPC_X509_PEM_CERT_PROPERTY_NAME));
  // The leaf alone: a chain through another CA leads nowhere.
  if (trust::VerifyChain(leaf, root_pem, now).ok()) return absl::OkStatus();
  return absl::PermissionDeniedError(fmt::format(
      "the certificate of {} is not issued by the federation's authority itself", name));
}

}  // namespace choir::rpc
