#include "proto/rpc/tls_version.h"

#include <memory>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/ssl.h>

namespace choir::rpc {
namespace {

// What OpenSSL applies to each new SSL_CTX. A minimum alone would not do: gRPC sets its own after
// it. "-TLSv1.2" takes the version away for good. The strength is Debian's default.
constexpr std::string_view kConfiguration =
    "openssl_conf = choir\n"
    "[choir]\n"
    "ssl_conf = tls\n"
    "[tls]\n"
    "system_default = defaults\n"
    "[defaults]\n"
    "MinProtocol = TLSv1.3\n"
    "Protocol = -TLSv1.2,-TLSv1.1,-TLSv1\n"
    "CipherString = DEFAULT@SECLEVEL=2\n";

bool Configure() {
  // The system's file first; ours replaces what it says of TLS.
  if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, nullptr) != 1) return false;
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(
      BIO_new_mem_buf(kConfiguration.data(), static_cast<int>(kConfiguration.size())), &BIO_free);
  const std::unique_ptr<CONF, decltype(&NCONF_free)> conf(NCONF_new(nullptr), &NCONF_free);
  if (text == nullptr || conf == nullptr) return false;
  long error_line = 0;
  if (NCONF_load_bio(conf.get(), text.get(), &error_line) != 1) return false;
  if (CONF_modules_load(conf.get(), nullptr, 0) != 1) return false;
  // Believed only when seen.
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> made(SSL_CTX_new(TLS_method()),
                                                               &SSL_CTX_free);
  return made != nullptr && (SSL_CTX_get_options(made.get()) & SSL_OP_NO_TLSv1_2) != 0;
}

}  // namespace

absl::Status RequireTls13() {
  static const bool done = Configure();
  if (done) return absl::OkStatus();
  return absl::InternalError(
      "OpenSSL cannot be told to refuse TLS below 1.3; is another library than OpenSSL 3 loaded?");
}

}  // namespace choir::rpc
