#include "node/identity/enrolment.h"

#include <chrono>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "choir/v1/enrolment.grpc.pb.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/invite.h"

namespace choir::node {
namespace {

constexpr auto kCallTimeout = std::chrono::seconds(20);

absl::StatusOr<trust::SigningKey> LoadOrMakeKey(const NodeHome& home, RandomSource& random) {
  absl::StatusOr<trust::SigningKey> key = trust::SigningKey::Load(home.DeviceKey(), "");
  if (!absl::IsNotFound(key.status())) return key;
  trust::SigningKey made = trust::SigningKey::Generate(random);
  CHOIR_RETURN_IF_ERROR(made.Save(home.DeviceKey(), "", random));
  return made;
}

// Tells nodes apart, and nothing about their owners.
std::string NeutralName(const trust::PublicKey& key) {
  return "node-" + HexEncode(trust::IdOf(key)).substr(0, 8);
}

absl::StatusOr<v1::EnrolResponse> CallEnrol(const v1::Invite& invite, const std::string& root_pem,
                                            const v1::EnrolRequest& request) {
  const auto stub = v1::EnrolmentService::NewStub(
      rpc::OpenChannel(invite.enrolment_address(), root_pem, nullptr));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  context.set_wait_for_ready(false);
  v1::EnrolResponse response;
  const absl::Status status = rpc::FromGrpc(stub->Enrol(&context, request, &response));
  if (status.ok()) return response;
  return absl::Status(status.code(),
                      fmt::format("the coordinator at {}: {}", invite.enrolment_address(),
                                  std::string(status.message())));
}

// A home serves one federation. A membership of the same one that has lapsed may be renewed by an
// invite.
absl::Status CheckHomeIsFree(const NodeHome& home, const std::string& root_pem, absl::Time now) {
  constexpr uint64_t kMaxMembershipBytes = uint64_t{1} << 20;
  const absl::StatusOr<std::string> bytes = ReadFile(home.Membership(), kMaxMembershipBytes);
  if (absl::IsNotFound(bytes.status())) return absl::OkStatus();
  v1::Membership membership;
  const bool same_federation =
      bytes.ok() && membership.ParseFromString(*bytes) && membership.root_pem() == root_pem;
  if (same_federation && !Identity::Load(home, now).ok()) return absl::OkStatus();
  return absl::AlreadyExistsError(fmt::format(
      "{} belongs to a federation already: use another --home for another federation", home.path));
}

}  // namespace

absl::StatusOr<Identity> Enrol(const NodeHome& home, std::string_view invite_text,
                               std::string_view display_name, absl::Time now,
                               RandomSource& random) {
  CHOIR_ASSIGN_OR_RETURN(const v1::Invite invite, trust::DecodeInvite(invite_text, now));
  CHOIR_ASSIGN_OR_RETURN(const std::string root_pem,
                         trust::DerToPem(invite.root_certificate_der()));
  CHOIR_RETURN_IF_ERROR(CheckHomeIsFree(home, root_pem, now));
  CHOIR_RETURN_IF_ERROR(MakeDirectories(home.path, 0700));
  CHOIR_ASSIGN_OR_RETURN(const trust::SigningKey key, LoadOrMakeKey(home, random));

  v1::EnrolRequest request;
  request.set_token(invite.token());
  request.set_device_key(std::string(AsChars(key.public_key())));
  const std::string proof_of = invite.federation_id() + invite.token();
  request.set_proof(std::string(AsChars(key.Sign(trust::kEnrolDomain, AsBytes(proof_of)))));
  request.set_display_name(display_name.empty() ? NeutralName(key.public_key())
                                                : std::string(display_name));
  CHOIR_ASSIGN_OR_RETURN(const v1::EnrolResponse response, CallEnrol(invite, root_pem, request));

  v1::Membership membership;
  membership.set_root_pem(root_pem);
  membership.set_coordinator_address(invite.coordinator_address());
  membership.set_certificate_chain_pem(response.certificate_chain_pem());
  *membership.mutable_device_credential() = response.device_credential();
  *membership.mutable_manifest() = response.manifest();
  // Checked before it is stored.
  return Identity::Create(home, std::move(membership), now);
}

}  // namespace choir::node
