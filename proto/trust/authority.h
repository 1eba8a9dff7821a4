#ifndef CHOIR_PROTO_TRUST_AUTHORITY_H_
#define CHOIR_PROTO_TRUST_AUTHORITY_H_

// What the authority does after a federation is founded: newer manifests, newer certificates.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/random.h"
#include "base/sha256.h"
#include "choir/v1/federation.pb.h"
#include "proto/trust/keys.h"

namespace choir::trust {

// What a manifest asks of every run's privacy from now on; unset: as it was, 0: nothing.
struct PrivacyFloorEdit {
  std::optional<bool> distributed = {};
  std::optional<double> min_noise_multiplier = {};
  std::optional<double> max_epsilon = {};
  std::optional<double> max_delta = {};
};

// How a manifest differs from the one before it.
struct ManifestEdit {
  std::optional<uint32_t> min_cohort = {};
  bool any_base_model = false;  // takes the list away, before the two below
  std::set<std::string> allow_models = {};
  std::set<std::string> forbid_models = {};  // raw digests, 32 bytes each
  std::set<std::string> revoke = {};
  std::set<std::string> reinstate = {};  // raw node ids, 32 bytes each
  std::optional<absl::Time> not_after = {};
  PrivacyFloorEdit privacy = {};
};

// The next manifest: the serial goes up by one, the keys stay. INVALID_ARGUMENT for a floor below
// three, a date that is past, a privacy floor that is no finite number from 0 (delta: below 1), a
// model or node that both come and go, or one to take away that is not there; FAILED_PRECONDITION
// if the last allowed model would go, since an empty list allows any.
absl::StatusOr<v1::Manifest> NextManifest(const v1::Manifest& last, const ManifestEdit& edit,
                                          absl::Time now);

// The folder of the authority, opened. Its key signs; nothing leaves by itself.
class Authority {
 public:
  // NOT_FOUND, or the errors of SigningKey::Load and OpenManifest (an expired manifest is fine: it
  // is here that a new one is made).
  static absl::StatusOr<Authority> Open(const std::string& folder, const std::string& passphrase);

  [[nodiscard]] const v1::Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const std::string& root_pem() const { return root_pem_; }
  // Signs, and keeps it as the last one before it returns it: a serial is never used twice.
  absl::StatusOr<v1::SignedDocument> Sign(const v1::Manifest& manifest);

  // New certificates for the keys that are there, until `not_after`; each file is replaced whole.
  // The coordinator's two: tls.pem, enrolment_ca.pem. It takes them up when it is started again.
  absl::Status RenewCoordinator(const std::string& folder, absl::Time now, absl::Time not_after,
                                RandomSource& random) const;
  // operator.pem; the operator keeps its name.
  absl::Status RenewOperator(const std::string& folder, absl::Time now, absl::Time not_after,
                             RandomSource& random) const;

 private:
  Authority(std::string folder, SigningKey key)
      : folder_(std::move(folder)), key_(std::move(key)) {}

  std::string folder_;
  SigningKey key_;
  std::string root_pem_;
  v1::Manifest manifest_;
};

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_AUTHORITY_H_
