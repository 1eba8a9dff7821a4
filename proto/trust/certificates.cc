#include "proto/trust/certificates.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/hex.h"
#include "base/status_macros.h"

namespace choir::trust {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using X509Ptr = std::unique_ptr<X509, Deleter<&X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<&EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, Deleter<&BIO_free>>;

absl::Status OpenSslError(std::string_view what) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return absl::InternalError(fmt::format("{}: {}", what, text.data()));
}

absl::StatusOr<X509Ptr> ParsePem(std::string_view pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) return absl::DataLossError("not a certificate in PEM form");
  return certificate;
}

absl::StatusOr<std::string> ToPem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return OpenSslError("cannot write PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

struct CertificateRequest {
  std::string common_name;
  const PublicKey* subject_key = nullptr;
  Validity validity;
  // OpenSSL's configuration syntax, by extension.
  std::vector<std::pair<int, std::string>> extensions;
};

absl::Status AddExtensions(X509* certificate, X509* issuer, const CertificateRequest& request) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  for (const auto& [nid, value] : request.extensions) {
    const std::unique_ptr<X509_EXTENSION, Deleter<&X509_EXTENSION_free>> extension(
        X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
      return OpenSslError("cannot add a certificate extension");
    }
  }
  return absl::OkStatus();
}

absl::Status SetFields(X509* certificate, X509* issuer, const CertificateRequest& request,
                       RandomSource& random) {
  std::array<uint8_t, 16> serial;
  random.Fill(serial);
  serial[0] = static_cast<uint8_t>((serial[0] & 0x7f) | 0x40);  // positive, never zero
  const std::unique_ptr<BIGNUM, Deleter<&BN_free>> number(
      BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  X509_NAME* subject = X509_get_subject_name(certificate);
  const bool ok =
      X509_set_version(certificate, 2) == 1 &&
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr &&
      ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(request.validity.not_before)) !=
          nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(request.validity.not_after)) !=
          nullptr &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(request.common_name.data()),
                                 static_cast<int>(request.common_name.size()), -1, 0) == 1 &&
      X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1;
  return ok ? absl::OkStatus() : OpenSslError("cannot fill a certificate");
}

// `issuer_pem` empty: self-signed.
absl::StatusOr<std::string> Issue(const SigningKey& issuer_key, std::string_view issuer_pem,
                                  const CertificateRequest& request, RandomSource& random) {
  const X509Ptr certificate(X509_new());
  const KeyPtr subject_key(EVP_PKEY_new_raw_public_key(
      EVP_PKEY_ED25519, nullptr, request.subject_key->data(), request.subject_key->size()));
  if (certificate == nullptr || subject_key == nullptr) return OpenSslError("no certificate");
  X509Ptr issuer;
  if (!issuer_pem.empty()) {
    CHOIR_ASSIGN_OR_RETURN(issuer, ParsePem(issuer_pem));
  }
  X509* issuer_certificate = issuer == nullptr ? certificate.get() : issuer.get();
  if (X509_set_pubkey(certificate.get(), subject_key.get()) != 1) {
    return OpenSslError("cannot set the certificate's key");
  }
  CHOIR_RETURN_IF_ERROR(SetFields(certificate.get(), issuer_certificate, request, random));
  CHOIR_RETURN_IF_ERROR(AddExtensions(certificate.get(), issuer_certificate, request));
  const std::string key_pem = issuer_key.ToPkcs8Pem();
  const BioPtr bio(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (key == nullptr || X509_sign(certificate.get(), key.get(), nullptr) == 0) {
    return OpenSslError("cannot sign the certificate");
  }
  return ToPem(certificate.get());
}

std::vector<std::pair<int, std::string>> LeafExtensions(std::string_view usage) {
  return {{NID_basic_constraints, "critical,CA:FALSE"},
          {NID_key_usage, "critical,digitalSignature"},
          {NID_ext_key_usage, std::string(usage)},
          {NID_subject_key_identifier, "hash"},
          {NID_authority_key_identifier, "keyid:always"}};
}

}  // namespace

absl::StatusOr<std::string> IssueRoot(const SigningKey& authority, std::string_view federation_name,
                                      const Validity& validity, RandomSource& random) {
  // X.520 limits a common name to 64 characters.
  CertificateRequest request{.common_name = fmt::format("Choir {}", federation_name).substr(0, 64),
                             .subject_key = &authority.public_key(),
                             .validity = validity,
                             .extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:1"},
                                            {NID_key_usage, "critical,keyCertSign"},
                                            {NID_subject_key_identifier, "hash"}}};
  return Issue(authority, "", request, random);
}

absl::StatusOr<std::string> IssueEnrolmentCa(const SigningKey& authority, std::string_view root_pem,
                                             const PublicKey& enrolment_key,
                                             const Validity& validity, RandomSource& random) {
  const CertificateRequest request{
      .common_name = "Choir enrolment",
      .subject_key = &enrolment_key,
      .validity = validity,
      .extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                     {NID_key_usage, "critical,keyCertSign"},
                     // All that it may issue are client certificates without a server's name.
                     {NID_ext_key_usage, "clientAuth"},
                     {NID_subject_key_identifier, "hash"},
                     {NID_authority_key_identifier, "keyid:always"}}};
  return Issue(authority, root_pem, request, random);
}

absl::StatusOr<std::string> IssueCoordinator(const SigningKey& authority, std::string_view root_pem,
                                             const PublicKey& key, const Validity& validity,
                                             RandomSource& random) {
  CertificateRequest request{.common_name = "coordinator",
                             .subject_key = &key,
                             .validity = validity,
                             .extensions = LeafExtensions("serverAuth")};
  request.extensions.emplace_back(NID_subject_alt_name, fmt::format("DNS:{}", kCoordinatorName));
  return Issue(authority, root_pem, request, random);
}

absl::StatusOr<std::string> IssueOperator(const SigningKey& authority, std::string_view root_pem,
                                          const PublicKey& key, std::string_view name,
                                          const Validity& validity, RandomSource& random) {
  const bool well_formed =
      !name.empty() && name.size() <= 48 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
      });
  if (!well_formed) {
    return absl::InvalidArgumentError(fmt::format(
        "an operator's name has 1 to 48 of a-z, 0-9 and '-'; got {} characters", name.size()));
  }
  const CertificateRequest request{.common_name = fmt::format("operator:{}", name),
                                   .subject_key = &key,
                                   .validity = validity,
                                   .extensions = LeafExtensions("clientAuth")};
  return Issue(authority, root_pem, request, random);
}

absl::StatusOr<std::string> IssueNode(const SigningKey& enrolment,
                                      std::string_view enrolment_ca_pem,
                                      const PublicKey& device_key, const Validity& validity,
                                      RandomSource& random) {
  // 32 bytes in hexadecimal would pass X.520's 64 characters with the prefix; 28 bytes (224 bits)
  // of the id name a node just as surely.
  const CertificateRequest request{
      .common_name = fmt::format("node:{}", HexEncode(IdOf(device_key)).substr(0, 56)),
      .subject_key = &device_key,
      .validity = validity,
      .extensions = LeafExtensions("clientAuth")};
  return Issue(enrolment, enrolment_ca_pem, request, random);
}

absl::StatusOr<CertificateInfo> ParseCertificate(std::string_view pem) {
  CHOIR_ASSIGN_OR_RETURN(const X509Ptr certificate, ParsePem(pem));
  CertificateInfo info;
  std::array<char, 128> name{};
  const int length = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()),
                                               NID_commonName, name.data(), name.size());
  if (length > 0) info.common_name.assign(name.data(), static_cast<size_t>(length));
  EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  size_t size = info.public_key.size();
  if (key == nullptr || EVP_PKEY_id(key) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(key, info.public_key.data(), &size) != 1 || size != 32) {
    ERR_clear_error();
    return absl::DataLossError("the certificate's key is not Ed25519");
  }
  std::tm before{};
  std::tm after{};
  if (ASN1_TIME_to_tm(X509_get0_notBefore(certificate.get()), &before) != 1 ||
      ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &after) != 1) {
    return absl::DataLossError("the certificate has no valid dates");
  }
  info.not_before = absl::FromTM(before, absl::UTCTimeZone());
  info.not_after = absl::FromTM(after, absl::UTCTimeZone());
  return info;
}

absl::StatusOr<std::string> PemToDer(std::string_view pem) {
  CHOIR_ASSIGN_OR_RETURN(const X509Ptr certificate, ParsePem(pem));
  unsigned char* data = nullptr;
  const int size = i2d_X509(certificate.get(), &data);
  if (size < 0) return OpenSslError("cannot encode the certificate");
  std::string der(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  OPENSSL_free(data);
  return der;
}

absl::StatusOr<std::string> DerToPem(std::string_view der) {
  const auto* data = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* end = data;
  const X509Ptr certificate(d2i_X509(nullptr, &end, static_cast<long>(der.size())));
  ERR_clear_error();
  if (certificate == nullptr || end != data + der.size()) {
    return absl::DataLossError("not a certificate in DER form");
  }
  return ToPem(certificate.get());
}

absl::Status VerifyChain(std::string_view chain_pem, std::string_view root_pem, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(const X509Ptr root, ParsePem(root_pem));
  const BioPtr bio(BIO_new_mem_buf(chain_pem.data(), static_cast<int>(chain_pem.size())));
  std::vector<X509Ptr> chain;
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    chain.emplace_back(next);
    if (chain.size() > 4) return absl::PermissionDeniedError("the certificate chain is too long");
  }
  ERR_clear_error();
  if (chain.empty()) return absl::DataLossError("not a certificate chain in PEM form");

  const std::unique_ptr<X509_STORE, Deleter<&X509_STORE_free>> store(X509_STORE_new());
  const std::unique_ptr<X509_STORE_CTX, Deleter<&X509_STORE_CTX_free>> context(
      X509_STORE_CTX_new());
  STACK_OF(X509)* untrusted = sk_X509_new_null();
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(untrusted, chain[i].get());
  X509_STORE_add_cert(store.get(), root.get());
  X509_STORE_CTX_init(context.get(), store.get(), chain[0].get(), untrusted);
  X509_STORE_CTX_set_time(context.get(), 0, absl::ToTimeT(now));
  const bool ok = X509_verify_cert(context.get()) == 1;
  const int code = X509_STORE_CTX_get_error(context.get());
  sk_X509_free(untrusted);
  ERR_clear_error();
  if (ok) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("the certificate does not belong to the federation: {}",
                  X509_verify_cert_error_string(code)));
}

}  // namespace choir::trust
