#include "proto/trust/founding.h"

#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/keys.h"

namespace choir::trust {
namespace {

constexpr uint32_t kCohortFloor = 3;
// Clocks differ a little between devices.
constexpr absl::Duration kBackdate = absl::Hours(1);
// Nodes pin the root, so it must outlive everything that is renewed under it.
constexpr absl::Duration kRootLife = absl::Hours(24 * 365 * 20);

absl::Status CheckOptions(const FoundingOptions& options) {
  const std::string& name = options.name;
  if (name.empty() || name.size() > 48 || !std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
      })) {
    return absl::InvalidArgumentError(
        "a federation's name has 1 to 48 of a-z, 0-9 and '-', e.g. \"night-watch\"");
  }
  if (options.min_cohort < kCohortFloor) {
    return absl::InvalidArgumentError(fmt::format(
        "the smallest cohort must be at least {}: in a smaller one, members could work out each "
        "other's updates",
        kCohortFloor));
  }
  const std::string files[] = {options.authority_dir + "/authority.key",
                               options.coordinator_dir + "/coordinator.key",
                               options.operator_dir + "/operator.key"};
  for (const std::string& file : files) {
    if (::access(file.c_str(), F_OK) == 0) {
      return absl::AlreadyExistsError(
          fmt::format("{} exists: a federation lives there already; choose another folder", file));
    }
  }
  return absl::OkStatus();
}

// The keys and certificates of a federation in the making.
struct Founding {
  const FoundingOptions& options;
  Validity validity;
  RandomSource& random;
  SigningKey authority;
  SigningKey coordinator;
  SigningKey enrolment;
  std::string root_pem;
};

v1::SignedDocument MakeManifest(const Founding& founding) {
  v1::Manifest manifest;
  manifest.set_federation_id(std::string(AsChars(IdOf(founding.authority.public_key()))));
  manifest.set_name(founding.options.name);
  manifest.set_serial(1);
  manifest.set_coordinator_key(std::string(AsChars(founding.coordinator.public_key())));
  manifest.set_enrolment_key(std::string(AsChars(founding.enrolment.public_key())));
  for (const Digest& digest : founding.options.base_models) {
    manifest.add_base_model_digests(std::string(AsChars(digest)));
  }
  manifest.set_min_cohort(founding.options.min_cohort);
  *manifest.mutable_privacy() = founding.options.privacy;
  manifest.set_not_after_unix_s(absl::ToUnixSeconds(founding.validity.not_after));
  return SignDocument(founding.authority, kManifestDomain, manifest);
}

absl::Status WriteCoordinator(const Founding& founding, const std::string& manifest) {
  const std::string& dir = founding.options.coordinator_dir;
  const SigningKey tls = SigningKey::Generate(founding.random);
  CHOIR_ASSIGN_OR_RETURN(const std::string leaf,
                         IssueCoordinator(founding.authority, founding.root_pem, tls.public_key(),
                                          founding.validity, founding.random));
  CHOIR_ASSIGN_OR_RETURN(
      const std::string enrolment_ca,
      IssueEnrolmentCa(founding.authority, founding.root_pem, founding.enrolment.public_key(),
                       founding.validity, founding.random));
  CHOIR_RETURN_IF_ERROR(founding.coordinator.Save(dir + "/coordinator.key", "", founding.random));
  CHOIR_RETURN_IF_ERROR(founding.enrolment.Save(dir + "/enrolment.key", "", founding.random));
  CHOIR_RETURN_IF_ERROR(tls.Save(dir + "/tls.key", "", founding.random));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(dir + "/tls.pem", leaf));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(dir + "/enrolment_ca.pem", enrolment_ca));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(dir + "/root.pem", founding.root_pem));
  return AtomicWriteFile(dir + "/manifest.pb", manifest);
}

absl::Status WriteOperator(const Founding& founding) {
  const std::string& dir = founding.options.operator_dir;
  const SigningKey key = SigningKey::Generate(founding.random);
  CHOIR_ASSIGN_OR_RETURN(
      const std::string certificate,
      IssueOperator(founding.authority, founding.root_pem, key.public_key(),
                    founding.options.operator_name, founding.validity, founding.random));
  CHOIR_RETURN_IF_ERROR(key.Save(dir + "/operator.key", "", founding.random));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(dir + "/operator.pem", certificate));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(dir + "/root.pem", founding.root_pem));
  return AtomicWriteFile(dir + "/operator.toml",
                         fmt::format("federation = \"{}\"\naddress = \"{}\"\n",
                                     founding.options.name, founding.options.address));
}

}  // namespace

absl::Status FoundFederation(const FoundingOptions& options, absl::Time now, RandomSource& random) {
  CHOIR_RETURN_IF_ERROR(CheckOptions(options));
  for (const std::string& dir :
       {options.authority_dir, options.coordinator_dir, options.operator_dir}) {
    CHOIR_RETURN_IF_ERROR(MakeDirectories(dir, 0700));
  }
  Founding founding{.options = options,
                    .validity = {now - kBackdate, now + options.validity},
                    .random = random,
                    .authority = SigningKey::Generate(random),
                    .coordinator = SigningKey::Generate(random),
                    .enrolment = SigningKey::Generate(random),
                    .root_pem = {}};
  CHOIR_ASSIGN_OR_RETURN(founding.root_pem, IssueRoot(founding.authority, options.name,
                                                      {now - kBackdate, now + kRootLife}, random));
  const std::string manifest = MakeManifest(founding).SerializeAsString();
  CHOIR_RETURN_IF_ERROR(WriteCoordinator(founding, manifest));
  CHOIR_RETURN_IF_ERROR(WriteOperator(founding));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(options.authority_dir + "/root.pem", founding.root_pem));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(options.authority_dir + "/manifest.pb", manifest));
  // Last: with this key there, the federation is founded.
  return founding.authority.Save(options.authority_dir + "/authority.key", options.passphrase,
                                 random);
}

}  // namespace choir::trust
