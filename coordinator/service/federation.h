#ifndef CHOIR_COORDINATOR_SERVICE_FEDERATION_H_
#define CHOIR_COORDINATOR_SERVICE_FEDERATION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "choir/v1/federation.pb.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/keys.h"

namespace choir::coordinator {

// The coordinator's folder, as `choir federation init` makes it.
struct DataFolder {
  std::string path;

  [[nodiscard]] std::string CoordinatorKey() const { return path + "/coordinator.key"; }
  [[nodiscard]] std::string TlsKey() const { return path + "/tls.key"; }
  [[nodiscard]] std::string TlsCertificate() const { return path + "/tls.pem"; }
  [[nodiscard]] std::string Root() const { return path + "/root.pem"; }
  [[nodiscard]] std::string EnrolmentKey() const { return path + "/enrolment.key"; }
  [[nodiscard]] std::string EnrolmentCa() const { return path + "/enrolment_ca.pem"; }
  [[nodiscard]] std::string Manifest() const { return path + "/manifest.pb"; }
  [[nodiscard]] std::string Database() const { return path + "/choir.db"; }
  [[nodiscard]] std::string Blobs() const { return path + "/blobs"; }
  [[nodiscard]] std::string Spool() const { return path + "/spool"; }
  [[nodiscard]] std::string Endpoints() const { return path + "/endpoints.json"; }
  [[nodiscard]] std::string Lock() const { return path + "/lock"; }
};

// What the authority gave the coordinator. The authority's own key is not here and is not needed.
struct Federation {
  trust::SigningKey coordinator_key;
  trust::SigningKey enrolment_key;
  rpc::TlsIdentity tls;
  std::string root_pem;
  std::string enrolment_ca_pem;
  trust::PublicKey authority{};
  v1::SignedDocument manifest_document;
  v1::Manifest manifest;
};

// Reads the folder and checks that its parts belong together: chain to the root, manifest signed by
// the root's key, keys that the manifest names. The error names the file.
absl::StatusOr<Federation> LoadFederation(const DataFolder& folder, absl::Time now);

// A sentence for each certificate, and for the manifest in force, that ends within a month.
std::vector<std::string> ExpiryWarnings(const Federation& federation, const v1::Manifest& manifest,
                                        absl::Time now);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_FEDERATION_H_
