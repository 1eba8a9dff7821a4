// What our two ends say to an end that offers TLS 1.2 alone, or 1.3.
#include "proto/rpc/tls_version.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "choir/v1/enrolment.grpc.pb.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/certificates.h"

namespace choir::rpc {
namespace {

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Connection = std::unique_ptr<SSL, decltype(&SSL_free)>;

// An end that speaks this one version, whatever this process's configuration says.
Context Only(const SSL_METHOD* method, int version) {
  Context context(SSL_CTX_new(method), &SSL_CTX_free);
  SSL_CTX_clear_options(context.get(), SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3);
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  return context;
}

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

class TlsVersionTest : public testing::Test {
 protected:
  TlsVersionTest() {
    // OpenSSL writes without MSG_NOSIGNAL, and the other end may have hung up already.
    ::signal(SIGPIPE, SIG_IGN);
    root_ = trust::IssueRoot(authority_, "test", validity_, random_).value();
    const trust::SigningKey key = trust::SigningKey::Generate(random_);
    server_identity_ = {
        trust::IssueCoordinator(authority_, root_, key.public_key(), validity_, random_).value(),
        key.ToPkcs8Pem()};
  }

  // Starts a server of ours on `port_`.
  std::unique_ptr<grpc::Server> Serve(std::shared_ptr<grpc::ServerCredentials> credentials) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", std::move(credentials), &port_);
    builder.RegisterService(&service_);
    return builder.BuildAndStart();
  }

  // Empty if the handshake with the server on `port_` succeeds, else OpenSSL's reason.
  std::string Handshake(int version) const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(port_);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    const Context context = Only(TLS_client_method(), version);
    const Connection tls(SSL_new(context.get()), &SSL_free);
    SSL_set_fd(tls.get(), fd);
    ERR_clear_error();
    const bool connected = SSL_connect(tls.get()) == 1;
    const char* reason = ERR_reason_error_string(ERR_get_error());
    ::close(fd);
    return connected ? "" : reason != nullptr ? reason : "closed";
  }

  SystemRandom random_;
  trust::Validity validity_{absl::Now() - absl::Hours(1), absl::Now() + absl::Hours(24)};
  trust::SigningKey authority_ = trust::SigningKey::Generate(random_);
  std::string root_;
  TlsIdentity server_identity_;
  v1::EnrolmentService::Service service_;
  int port_ = 0;
};

TEST_F(TlsVersionTest, ServersRefuse12AndTake13) {
  for (const bool mutual : {true, false}) {
    const auto server = Serve(mutual ? MutualServerCredentials(root_, server_identity_)
                                     : EnrolmentServerCredentials(server_identity_));
    ASSERT_NE(server, nullptr);
    // gRPC hangs up without an alert.
    EXPECT_NE(Handshake(TLS1_2_VERSION), "") << mutual;
    EXPECT_EQ(Handshake(TLS1_3_VERSION), "") << mutual;
    server->Shutdown();
  }
}

// A server that offers one version, and takes one connection.
class OneVersionServer {
 public:
  OneVersionServer(int version, const TlsIdentity& identity)
      : context_(Only(TLS_server_method(), version)) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> pem(
        BIO_new_mem_buf(identity.certificate_chain_pem.data(), -1), &BIO_free);
    const std::unique_ptr<X509, decltype(&X509_free)> leaf(
        PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr), &X509_free);
    const std::unique_ptr<BIO, decltype(&BIO_free)> key_pem(
        BIO_new_mem_buf(identity.private_key_pem.data(), -1), &BIO_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        PEM_read_bio_PrivateKey(key_pem.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
    EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), leaf.get()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), key.get()), 1);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Accept(); });
  }
  ~OneVersionServer() { ::close(fd_); }
  OneVersionServer(const OneVersionServer&) = delete;
  OneVersionServer& operator=(const OneVersionServer&) = delete;
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Did the one connection agree on the version?
  bool Agreed() {
    thread_.join();
    return agreed_;
  }

 private:
  void Accept() {
    const int peer = ::accept(fd_, nullptr, nullptr);
    const Connection tls(SSL_new(context_.get()), &SSL_free);
    SSL_set_fd(tls.get(), peer);
    agreed_ = SSL_accept(tls.get()) == 1;
    ::close(peer);
  }
  Context context_;
  int fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port_ = 0;
  bool agreed_ = false;
  std::thread thread_;
};

TEST_F(TlsVersionTest, ClientsRefuse12AndTake13) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    OneVersionServer server(version, server_identity_);
    const auto stub = v1::EnrolmentService::NewStub(OpenChannel(server.address(), root_, nullptr));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::EnrolResponse response;
    EXPECT_FALSE(stub->Enrol(&context, {}, &response).ok());  // it only shakes hands
    EXPECT_EQ(server.Agreed(), version == TLS1_3_VERSION) << version;
  }
}

}  // namespace
}  // namespace choir::rpc
