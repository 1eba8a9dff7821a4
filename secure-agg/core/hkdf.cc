#include "secure-agg/core/hkdf.h"

#include <memory>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "base/check.h"
#include "base/file.h"

namespace choir::secagg {
namespace {

// OpenSSL's parameters take pointers to non-const, and only read through them.
OSSL_PARAM OctetParam(const char* name, std::span<const uint8_t> bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

void HkdfSha256(std::span<const uint8_t> key, std::span<const uint8_t> salt,
                std::span<const uint8_t> info, std::span<uint8_t> out) {
  const std::unique_ptr<EVP_KDF, void (*)(EVP_KDF*)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr),
                                                         EVP_KDF_free);
  CHOIR_CHECK(kdf != nullptr && !key.empty());
  const std::unique_ptr<EVP_KDF_CTX, void (*)(EVP_KDF_CTX*)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                     EVP_KDF_CTX_free);
  CHOIR_CHECK(context != nullptr);
  char digest[] = "SHA256";
  OSSL_PARAM params[5];
  size_t count = 0;
  params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  params[count++] = OctetParam(OSSL_KDF_PARAM_KEY, key);
  if (!salt.empty()) params[count++] = OctetParam(OSSL_KDF_PARAM_SALT, salt);
  if (!info.empty()) params[count++] = OctetParam(OSSL_KDF_PARAM_INFO, info);
  params[count] = OSSL_PARAM_construct_end();
  CHOIR_CHECK(EVP_KDF_derive(context.get(), out.data(), out.size(), params) == 1);
}

SecretBytes<32> DeriveSecret(std::span<const uint8_t> key, std::span<const uint8_t> salt,
                             std::string_view label) {
  SecretBytes<32> secret;
  HkdfSha256(key, salt, AsBytes(label), secret.ExposeMutable());
  return secret;
}

}  // namespace choir::secagg
