// Invites come from strangers' chats: any text must be refused or understood, never crash.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

#include "choir/v1/federation.pb.h"
#include "proto/trust/certificates.h"
#include "proto/trust/invite.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)choir::trust::DecodeInvite(bytes, absl::UnixEpoch());
  (void)choir::trust::DecodeInvite("choir1:" + std::string(bytes), absl::UnixEpoch());
  choir::v1::Invite invite;
  if (invite.ParseFromArray(data, static_cast<int>(size))) {
    (void)choir::trust::DecodeInvite(choir::trust::EncodeInvite(invite), absl::UnixEpoch());
  }
  (void)choir::trust::DerToPem(bytes);
  (void)choir::trust::ParseCertificate(bytes);
  return 0;
}
