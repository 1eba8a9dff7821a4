#include "proto/trust/invite.h"

#include <fmt/format.h>
#include <sodium.h>

#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "proto/trust/certificates.h"
#include "proto/trust/keys.h"

namespace choir::trust {
namespace {

constexpr std::string_view kPrefix = "choir1:";
constexpr size_t kMaxInviteChars = 4096;
constexpr size_t kTokenBytes = 16;

absl::Status CheckFields(const v1::Invite& invite) {
  if (invite.token().size() != kTokenBytes || invite.enrolment_address().empty() ||
      invite.coordinator_address().empty() || invite.enrolment_address().size() > 256 ||
      invite.coordinator_address().size() > 256) {
    return absl::InvalidArgumentError("the invite lacks a field: copy it again, whole");
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string root_pem, DerToPem(invite.root_certificate_der()));
  CHOIR_ASSIGN_OR_RETURN(const CertificateInfo root, ParseCertificate(root_pem));
  if (invite.federation_id() != AsChars(IdOf(root.public_key))) {
    return absl::InvalidArgumentError("the invite's certificate is not its federation's");
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeInvite(const v1::Invite& invite) {
  CHOIR_CHECK(sodium_init() >= 0);
  const std::string bytes = invite.SerializeAsString();
  std::string text(
      sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(text.data(), text.size(), AsBytes(bytes).data(), bytes.size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  text.resize(text.size() - 1);  // the terminating zero
  return std::string(kPrefix) + text;
}

absl::StatusOr<v1::Invite> DecodeInvite(std::string_view text, absl::Time now) {
  CHOIR_CHECK(sodium_init() >= 0);
  if (!text.starts_with(kPrefix) || text.size() > kMaxInviteChars) {
    return absl::InvalidArgumentError(fmt::format("an invite starts with \"{}\"", kPrefix));
  }
  text.remove_prefix(kPrefix.size());
  std::string bytes(text.size(), '\0');
  size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(),
                        text.size(), "\r\n ", &size, &end,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      end != text.data() + text.size()) {
    return absl::InvalidArgumentError(
        "the invite has a character that does not belong: copy it again");
  }
  v1::Invite invite;
  if (!invite.ParseFromArray(bytes.data(), static_cast<int>(size))) {
    return absl::InvalidArgumentError("the invite is cut short or damaged: copy it again, whole");
  }
  CHOIR_RETURN_IF_ERROR(CheckFields(invite));
  if (absl::FromUnixSeconds(invite.not_after_unix_s()) < now) {
    return absl::DeadlineExceededError("the invite has expired: ask the operator for another");
  }
  return invite;
}

}  // namespace choir::trust
