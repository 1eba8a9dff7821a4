#include "proto/trust/authority.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"

namespace choir::trust {
namespace {

constexpr uint32_t kCohortFloor = 3;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 20;
// Clocks differ a little between devices.
constexpr absl::Duration kBackdate = absl::Hours(1);
constexpr std::string_view kOperatorPrefix = "operator:";

// `list` with `add` and without `remove`, in order.
absl::Status Change(google::protobuf::RepeatedPtrField<std::string>& list,
                    const std::set<std::string>& add, const std::set<std::string>& remove,
                    std::string_view what) {
  std::set<std::string> entries(list.begin(), list.end());
  for (const auto* side : {&add, &remove}) {
    for (const std::string& id : *side) {
      if (id.size() == sizeof(Digest)) continue;
      return absl::InvalidArgumentError(
          fmt::format("the name of a {} has {} bytes, not {}", what, id.size(), sizeof(Digest)));
    }
  }
  for (const std::string& id : remove) {
    if (add.contains(id) || entries.erase(id) == 0) {
      return absl::InvalidArgumentError(fmt::format(
          "{} {} is {}", what, HexEncode(AsBytes(id)).substr(0, 16),
          add.contains(id) ? "both to be added and to be taken away" : "not in the manifest"));
    }
  }
  entries.insert(add.begin(), add.end());
  list.Clear();
  for (const std::string& id : entries) list.Add(std::string(id));
  return absl::OkStatus();
}

absl::Status CheckFloor(std::optional<double> value, std::string_view what, double below) {
  if (!value.has_value() || (*value >= 0 && *value < below)) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "the floor's {} is {}; it must be a number from 0 (none) to below {}", what, *value, below));
}

absl::Status Change(v1::PrivacyFloor& floor, const PrivacyFloorEdit& edit) {
  constexpr double kLargest = 1e6;
  CHOIR_RETURN_IF_ERROR(CheckFloor(edit.min_noise_multiplier, "noise multiplier", kLargest));
  CHOIR_RETURN_IF_ERROR(CheckFloor(edit.max_epsilon, "epsilon", kLargest));
  CHOIR_RETURN_IF_ERROR(CheckFloor(edit.max_delta, "delta", 1));
  floor.set_distributed(edit.distributed.value_or(floor.distributed()));
  floor.set_min_noise_multiplier(edit.min_noise_multiplier.value_or(floor.min_noise_multiplier()));
  floor.set_max_epsilon(edit.max_epsilon.value_or(floor.max_epsilon()));
  floor.set_max_delta(edit.max_delta.value_or(floor.max_delta()));
  return absl::OkStatus();
}

absl::StatusOr<CertificateInfo> ReadCertificate(const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const std::string pem, ReadFile(path, kMaxFileBytes));
  absl::StatusOr<CertificateInfo> info = ParseCertificate(pem);
  if (info.ok()) return info;
  return absl::Status(info.status().code(),
                      fmt::format("{}: {}", path, std::string(info.status().message())));
}

}  // namespace

absl::StatusOr<v1::Manifest> NextManifest(const v1::Manifest& last, const ManifestEdit& edit,
                                          absl::Time now) {
  v1::Manifest next = last;
  next.set_serial(last.serial() + 1);
  if (edit.min_cohort.has_value()) {
    if (*edit.min_cohort < kCohortFloor) {
      return absl::InvalidArgumentError(
          fmt::format("the smallest cohort is {}; it must be at least {}, because in a smaller one "
                      "members could work out each other's updates",
                      *edit.min_cohort, kCohortFloor));
    }
    next.set_min_cohort(*edit.min_cohort);
  }
  if (edit.any_base_model) next.clear_base_model_digests();
  CHOIR_RETURN_IF_ERROR(Change(*next.mutable_base_model_digests(), edit.allow_models,
                               edit.forbid_models, "base model"));
  if (!edit.forbid_models.empty() && next.base_model_digests_size() == 0) {
    return absl::FailedPreconditionError(
        "that takes the last base model away, and a manifest without any allows all of them: allow "
        "another one in the same step");
  }
  CHOIR_RETURN_IF_ERROR(
      Change(*next.mutable_revoked_node_ids(), edit.revoke, edit.reinstate, "node"));
  CHOIR_RETURN_IF_ERROR(Change(*next.mutable_privacy(), edit.privacy));
  if (edit.not_after.has_value()) {
    if (*edit.not_after <= now) return absl::InvalidArgumentError("that date is past");
    next.set_not_after_unix_s(absl::ToUnixSeconds(*edit.not_after));
  }
  return next;
}

absl::StatusOr<Authority> Authority::Open(const std::string& folder,
                                          const std::string& passphrase) {
  CHOIR_ASSIGN_OR_RETURN(SigningKey key, SigningKey::Load(folder + "/authority.key", passphrase));
  Authority authority(folder, std::move(key));
  CHOIR_ASSIGN_OR_RETURN(authority.root_pem_, ReadFile(folder + "/root.pem", kMaxFileBytes));
  CHOIR_ASSIGN_OR_RETURN(const CertificateInfo root, ReadCertificate(folder + "/root.pem"));
  if (root.public_key != authority.key_.public_key()) {
    return absl::FailedPreconditionError(
        fmt::format("{}: root.pem is not of authority.key; were two folders mixed?", folder));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(folder + "/manifest.pb", kMaxFileBytes));
  v1::SignedDocument document;
  if (!document.ParseFromString(bytes)) {
    return absl::DataLossError(fmt::format("{}/manifest.pb: no signed document", folder));
  }
  CHOIR_ASSIGN_OR_RETURN(authority.manifest_,
                         OpenManifest(document, authority.key_.public_key(), absl::InfinitePast()));
  return authority;
}

absl::StatusOr<v1::SignedDocument> Authority::Sign(const v1::Manifest& manifest) {
  if (manifest.serial() <= manifest_.serial()) {
    return absl::FailedPreconditionError(
        fmt::format("manifest {} is not above {}, which the authority has signed",
                    manifest.serial(), manifest_.serial()));
  }
  v1::SignedDocument document = SignDocument(key_, kManifestDomain, manifest);
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(folder_ + "/manifest.pb", document.SerializeAsString()));
  manifest_ = manifest;
  return document;
}

absl::Status Authority::RenewCoordinator(const std::string& folder, absl::Time now,
                                         absl::Time not_after, RandomSource& random) const {
  const Validity validity{now - kBackdate, not_after};
  CHOIR_ASSIGN_OR_RETURN(const CertificateInfo tls, ReadCertificate(folder + "/tls.pem"));
  CHOIR_ASSIGN_OR_RETURN(const CertificateInfo ca, ReadCertificate(folder + "/enrolment_ca.pem"));
  if (manifest_.enrolment_key() != AsChars(ca.public_key)) {
    return absl::FailedPreconditionError(
        fmt::format("{}: the enrolment key is not the one in this authority's manifest", folder));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string leaf,
                         IssueCoordinator(key_, root_pem_, tls.public_key, validity, random));
  CHOIR_ASSIGN_OR_RETURN(const std::string enrolment_ca,
                         IssueEnrolmentCa(key_, root_pem_, ca.public_key, validity, random));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(folder + "/tls.pem", leaf));
  return AtomicWriteFile(folder + "/enrolment_ca.pem", enrolment_ca);
}

absl::Status Authority::RenewOperator(const std::string& folder, absl::Time now,
                                      absl::Time not_after, RandomSource& random) const {
  CHOIR_ASSIGN_OR_RETURN(const CertificateInfo old, ReadCertificate(folder + "/operator.pem"));
  if (!old.common_name.starts_with(kOperatorPrefix)) {
    return absl::InvalidArgumentError(
        fmt::format("{}/operator.pem is for {}, not for an operator", folder, old.common_name));
  }
  CHOIR_ASSIGN_OR_RETURN(
      const std::string renewed,
      IssueOperator(key_, root_pem_, old.public_key, old.common_name.substr(kOperatorPrefix.size()),
                    {now - kBackdate, not_after}, random));
  return AtomicWriteFile(folder + "/operator.pem", renewed);
}

}  // namespace choir::trust
