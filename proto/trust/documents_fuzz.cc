// Manifests and credentials come over the wire from a coordinator that may lie, and that may sign
// its lies: whatever is opened must be what the header promises.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

#include "base/check.h"
#include "base/file.h"
#include "choir/v1/enrolment.pb.h"
#include "choir/v1/federation.pb.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/keys.h"
#include "proto/trust/session_trust.h"

namespace choir::trust {
namespace {

std::string Text(const std::array<uint8_t, 32>& bytes) {
  return std::string(AsChars(bytes));
}

struct World {
  SigningKey authority = SigningKey::FromSeed(std::array<uint8_t, 32>{1});
  SigningKey coordinator = SigningKey::FromSeed(std::array<uint8_t, 32>{2});
  SigningKey device = SigningKey::FromSeed(std::array<uint8_t, 32>{3});
  absl::Time now = absl::FromUnixSeconds(1'000'000);

  [[nodiscard]] v1::Manifest SampleManifest() const {
    v1::Manifest manifest;
    manifest.set_federation_id(Text(IdOf(authority.public_key())));
    manifest.set_coordinator_key(Text(coordinator.public_key()));
    manifest.set_enrolment_key(Text(coordinator.public_key()));
    manifest.set_not_after_unix_s(2'000'000);
    return manifest;
  }

  [[nodiscard]] v1::DeviceCredential SampleCredential() const {
    v1::DeviceCredential credential;
    credential.set_federation_id(Text(IdOf(authority.public_key())));
    credential.set_node_id(Text(IdOf(device.public_key())));
    credential.set_device_key(Text(device.public_key()));
    credential.set_not_after_unix_s(2'000'000);
    return credential;
  }
};

// As it came: nobody here signed it, so nothing may open.
void Unsigned(const World& world, const std::string& bytes) {
  v1::EnrolResponse response;
  if (!response.ParseFromString(bytes)) return;
  CHOIR_CHECK(!OpenManifest(response.manifest(), world.authority.public_key(), world.now).ok());
  CHOIR_CHECK(
      !OpenCredential(response.device_credential(), world.SampleManifest(), world.now).ok());
  (void)ParseCertificate(response.certificate_chain_pem());
}

// The bytes change fields of documents that hold, and are signed with the right keys.
void Signed(const World& world, const std::string& bytes) {
  v1::Manifest manifest = world.SampleManifest();
  if (manifest.MergeFromString(bytes)) {
    const auto opened = OpenManifest(SignDocument(world.authority, kManifestDomain, manifest),
                                     world.authority.public_key(), world.now);
    if (opened.ok()) {
      CHOIR_CHECK(opened->federation_id() == Text(IdOf(world.authority.public_key())));
      CHOIR_CHECK(opened->coordinator_key().size() == 32 && opened->enrolment_key().size() == 32);
    }
  }
  v1::DeviceCredential credential = world.SampleCredential();
  if (!credential.MergeFromString(bytes)) return;
  const v1::SignedDocument document = SignDocument(world.coordinator, kDeviceDomain, credential);
  const auto opened = OpenCredential(document, world.SampleManifest(), world.now);
  if (opened.ok()) CHOIR_CHECK(opened->node_id().size() == 32 && opened->device_key().size() == 32);
  // The same, as secure aggregation meets it.
  const SessionVerifier verifier(world.SampleManifest(), world.now);
  const std::string carried = document.SerializeAsString();
  (void)verifier.Verify(Text(IdOf(world.device.public_key())), world.device.public_key(),
                        AsBytes(carried));
  (void)verifier.Verify(Text(IdOf(world.device.public_key())), world.device.public_key(),
                        AsBytes(bytes));
}

}  // namespace
}  // namespace choir::trust

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const choir::trust::World world;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  choir::trust::Unsigned(world, bytes);
  choir::trust::Signed(world, bytes);
  return 0;
}
