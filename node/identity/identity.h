#ifndef CHOIR_NODE_IDENTITY_IDENTITY_H_
#define CHOIR_NODE_IDENTITY_IDENTITY_H_

// Who this node is: its device key, and what the federation certified when it enrolled.

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "choir/v1/enrolment.pb.h"
#include "choir/v1/federation.pb.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/keys.h"

namespace choir::node {

// Where a node keeps everything: one folder, readable by its owner only.
struct NodeHome {
  std::string path;

  [[nodiscard]] std::string DeviceKey() const { return path + "/device.key"; }
  [[nodiscard]] std::string Membership() const { return path + "/membership.pb"; }
  [[nodiscard]] std::string Config() const { return path + "/node.toml"; }
  [[nodiscard]] std::string Work() const { return path + "/work"; }
  [[nodiscard]] std::string Models() const { return path + "/models"; }
  [[nodiscard]] std::string Adapters() const { return path + "/adapters"; }
  [[nodiscard]] std::string Cache() const { return path + "/cache"; }
  [[nodiscard]] std::string Ledger() const { return path + "/ledger.jsonl"; }
  [[nodiscard]] std::string RoundCounter() const { return path + "/round_counter"; }
  [[nodiscard]] std::string ControlSocket() const { return path + "/control.sock"; }
};

// $CHOIR_HOME, else ~/.local/share/choir.
std::string DefaultHome();

// What enrolment gave, checked against the pinned root. Immutable but for Update.
class Identity {
 public:
  // NOT_FOUND: not enrolled yet (says how). DATA_LOSS: a file is damaged. PERMISSION_DENIED:
  // certificate or manifest does not belong to the pinned federation, or has expired.
  static absl::StatusOr<Identity> Load(const NodeHome& home, absl::Time now);

  // Checks what enrolment gave, then stores it.
  static absl::StatusOr<Identity> Create(const NodeHome& home, v1::Membership membership,
                                         absl::Time now);

  // Takes a newer manifest, renewed certificates, or both (null: none), checked together and stored
  // durably. PERMISSION_DENIED, and nothing changes, if they do not hold, or not with what this
  // node has (a manifest with another enrolment key needs certificates of that key), or if the
  // manifest's serial goes back.
  absl::Status Update(const NodeHome& home, const v1::SignedDocument* manifest,
                      const v1::RenewedMembership* renewed, absl::Time now);

  [[nodiscard]] const trust::SigningKey& device_key() const { return key_; }
  // 32 raw bytes.
  [[nodiscard]] const std::string& node_id() const { return node_id_; }
  [[nodiscard]] const v1::Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const v1::SignedDocument& credential() const {
    return membership_.device_credential();
  }
  [[nodiscard]] const std::string& root_pem() const { return membership_.root_pem(); }
  [[nodiscard]] const std::string& coordinator_address() const {
    return membership_.coordinator_address();
  }
  [[nodiscard]] const std::string& federation_name() const { return manifest_.name(); }
  [[nodiscard]] rpc::TlsIdentity tls() const;
  [[nodiscard]] absl::Time certificate_not_after() const { return not_after_; }

 private:
  explicit Identity(trust::SigningKey key) : key_(std::move(key)) {}
  static absl::StatusOr<Identity> Check(trust::SigningKey key, v1::Membership membership,
                                        absl::Time now);

  trust::SigningKey key_;
  v1::Membership membership_;
  v1::Manifest manifest_;
  std::string node_id_;
  absl::Time not_after_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_IDENTITY_IDENTITY_H_
