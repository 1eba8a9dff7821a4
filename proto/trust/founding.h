#ifndef CHOIR_PROTO_TRUST_FOUNDING_H_
#define CHOIR_PROTO_TRUST_FOUNDING_H_

// Makes a new federation: the authority's key and root certificate, what the coordinator needs to
// run, and the first operator's credentials.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/random.h"
#include "base/sha256.h"
#include "choir/v1/federation.pb.h"

namespace choir::trust {

struct FoundingOptions {
  std::string name;             // 1 to 48 of [a-z0-9-]
  std::string authority_dir;    // may live elsewhere than the coordinator, and should
  std::string coordinator_dir;  // authority.key is not in it
  std::string operator_dir;
  std::string operator_name = "operator";
  std::string passphrase;           // of authority.key; empty: none
  std::string address;              // host:port where the operator's programs find the coordinator
  uint32_t min_cohort = 8;          // floor that the manifest sets; never below 3
  v1::PrivacyFloor privacy = {};    // what the manifest asks of every run
  std::vector<Digest> base_models;  // that the manifest allows; empty: any
  absl::Duration validity = absl::Hours(24 * 730);
};

// Writes, each file whole:
//   AUTHORITY/authority.key root.pem manifest.pb
//   COORDINATOR/coordinator.key tls.key tls.pem root.pem enrolment.key enrolment_ca.pem manifest.pb
//   OPERATOR/operator.key operator.pem root.pem operator.toml
// ALREADY_EXISTS if one of the folders holds a federation; INVALID_ARGUMENT for a bad name or
// floor.
absl::Status FoundFederation(const FoundingOptions& options, absl::Time now, RandomSource& random);

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_FOUNDING_H_
