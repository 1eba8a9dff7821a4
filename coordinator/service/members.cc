#include "coordinator/service/members.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/invite.h"

namespace choir::coordinator {
namespace {

constexpr size_t kTokenBytes = 16;
constexpr size_t kMaxNameBytes = 64;
constexpr uint32_t kShortestInviteS = 60;
constexpr uint32_t kLongestInviteS = 604'800;
// The daemon renews after two thirds of it.
constexpr absl::Duration kCertificateLife = absl::Hours(24 * 30);
// A node's clock may be behind ours.
constexpr absl::Duration kBackdate = absl::Hours(1);
// A node's session takes a dozen calls in quick succession; after that, a few a second at most.
constexpr double kNodeBurst = 200;
constexpr double kNodePerSecond = 50;
// Strangers call this one; each call costs a signature check and a look into the store.
constexpr double kEnrolBurst = 100;
constexpr double kEnrolPerSecond = 20;

bool IsPrintable(std::string_view name) {
  return std::ranges::all_of(name, [](char c) { return static_cast<unsigned char>(c) >= 0x20; });
}

}  // namespace

Members::Members(const Federation& federation, DataFolder folder, Store& store, const Clock& clock,
                 RandomSource& random)
    : federation_(federation),
      folder_(std::move(folder)),
      store_(store),
      clock_(clock),
      random_(random),
      enrolments_(kEnrolBurst, kEnrolPerSecond, clock.Now()) {}

absl::StatusOr<std::unique_ptr<Members>> Members::Open(const Federation& federation,
                                                       const DataFolder& folder, Store& store,
                                                       const Clock& clock, RandomSource& random) {
  CHOIR_ASSIGN_OR_RETURN(std::vector<NodeRecord> nodes, store.ListNodes());
  std::unique_ptr<Members> members(new Members(federation, folder, store, clock, random));
  absl::MutexLock lock(&members->mu_);
  for (NodeRecord& node : nodes) members->nodes_[node.node_id] = std::move(node);
  members->TakeManifest(federation.manifest_document, federation.manifest);
  return members;
}

void Members::SetAddresses(PublicAddresses addresses) {
  absl::MutexLock lock(&mu_);
  addresses_ = std::move(addresses);
}

void Members::TakeManifest(v1::SignedDocument document, v1::Manifest manifest) {
  manifest_document_ = std::move(document);
  manifest_ = std::move(manifest);
  revoked_ = {manifest_.revoked_node_ids().begin(), manifest_.revoked_node_ids().end()};
}

absl::Status Members::CheckProof(const v1::EnrolRequest& request) const {
  if (request.token().size() != kTokenBytes) {
    return absl::InvalidArgumentError(
        fmt::format("a token of {} bytes; invites have {}", request.token().size(), kTokenBytes));
  }
  if (request.display_name().size() > kMaxNameBytes || !IsPrintable(request.display_name())) {
    return absl::InvalidArgumentError(
        fmt::format("the display name must be at most {} printable bytes", kMaxNameBytes));
  }
  CHOIR_ASSIGN_OR_RETURN(const trust::PublicKey key,
                         trust::PublicKeyFrom(AsBytes(request.device_key())));
  const std::string signed_bytes = federation_.manifest.federation_id() + request.token();
  if (!trust::VerifySignature(key, trust::kEnrolDomain, AsBytes(signed_bytes),
                              AsBytes(request.proof()))) {
    return absl::InvalidArgumentError("the proof is not the device key's signature");
  }
  return absl::OkStatus();
}

absl::Status Members::CheckInvite(const Digest& token_hash, const std::string& node_id) {
  CHOIR_ASSIGN_OR_RETURN(const std::optional<InviteRecord> invite, store_.GetInvite(token_hash));
  if (!invite.has_value()) {
    return absl::PermissionDeniedError("the invite is unknown; ask the operator for a new one");
  }
  if (!invite->used_by.empty() && invite->used_by != node_id) {
    return absl::PermissionDeniedError(
        "another device has used the invite; ask the operator for a new one");
  }
  if (clock_.Now() >= invite->not_after) {
    return absl::PermissionDeniedError("the invite has expired; ask the operator for a new one");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::EnrolResponse> Members::Enrol(const v1::EnrolRequest& request) {
  {
    absl::MutexLock lock(&mu_);
    if (!enrolments_.Take(clock_.Now())) {
      return absl::ResourceExhaustedError("too many devices enrol at once; try again in a moment");
    }
  }
  CHOIR_RETURN_IF_ERROR(CheckProof(request));
  CHOIR_ASSIGN_OR_RETURN(const trust::PublicKey key,
                         trust::PublicKeyFrom(AsBytes(request.device_key())));
  const std::string node_id(AsChars(trust::IdOf(key)));
  if (IsRevoked(node_id)) return absl::PermissionDeniedError("this device has been revoked");
  const Digest token_hash = Sha256Of(request.token());
  CHOIR_RETURN_IF_ERROR(CheckInvite(token_hash, node_id));
  v1::EnrolResponse response;
  CHOIR_ASSIGN_OR_RETURN(*response.mutable_certificate_chain_pem(),
                         IssueCertificates(request.device_key()));
  *response.mutable_device_credential() = IssueCredential(request.device_key());
  *response.mutable_manifest() = manifest_document();

  const absl::Time now = clock_.Now();
  NodeRecord record{node_id,
                    request.device_key(),
                    request.display_name(),
                    response.device_credential().SerializeAsString(),
                    now,
                    now};
  if (const std::optional<NodeRecord> known = Find(node_id)) record.enrolled = known->enrolled;
  Batch batch;
  batch.invite_use = {token_hash, node_id};
  batch.nodes = {record};
  batch.events = {{now, "",
                   fmt::format("node_enrolled node={} name=\"{}\"",
                               HexEncode(AsBytes(node_id)).substr(0, 16), request.display_name())}};
  CHOIR_RETURN_IF_ERROR(store_.Commit(batch));
  CHOIR_FAILPOINT("coordinator-enrolled-before-answer");
  absl::MutexLock lock(&mu_);
  nodes_[node_id] = std::move(record);
  return response;
}

absl::StatusOr<v1::RenewCertificateResponse> Members::Renew(const std::string& node_id) {
  std::optional<NodeRecord> record = Find(node_id);
  if (!record.has_value()) return absl::PermissionDeniedError("this device is not enrolled");
  v1::RenewCertificateResponse response;
  v1::RenewedMembership& renewed = *response.mutable_renewed();
  CHOIR_ASSIGN_OR_RETURN(*renewed.mutable_certificate_chain_pem(),
                         IssueCertificates(record->device_key));
  *renewed.mutable_device_credential() = IssueCredential(record->device_key);
  record->credential = renewed.device_credential().SerializeAsString();
  Batch batch;
  batch.nodes = {*record};
  CHOIR_RETURN_IF_ERROR(store_.Commit(batch));
  absl::MutexLock lock(&mu_);
  nodes_[node_id] = *std::move(record);
  return response;
}

absl::StatusOr<std::string> Members::IssueCertificates(std::string_view device_key) {
  CHOIR_ASSIGN_OR_RETURN(const trust::PublicKey key, trust::PublicKeyFrom(AsBytes(device_key)));
  const absl::Time now = clock_.Now();
  CHOIR_ASSIGN_OR_RETURN(const std::string leaf,
                         trust::IssueNode(federation_.enrolment_key, federation_.enrolment_ca_pem,
                                          key, {now - kBackdate, now + kCertificateLife}, random_));
  return leaf + federation_.enrolment_ca_pem;
}

v1::SignedDocument Members::IssueCredential(std::string_view device_key) {
  v1::DeviceCredential credential;
  credential.set_federation_id(federation_.manifest.federation_id());
  const Digest node_id = Sha256Of(device_key);
  credential.set_node_id(node_id.data(), node_id.size());
  credential.set_device_key(std::string(device_key));
  credential.set_not_after_unix_s(absl::ToUnixSeconds(clock_.Now() + kCertificateLife));
  return trust::SignDocument(federation_.enrolment_key, trust::kDeviceDomain, credential);
}

absl::StatusOr<v1::CreateInviteResponse> Members::CreateInvite(uint32_t valid_s) {
  if (valid_s < kShortestInviteS || valid_s > kLongestInviteS) {
    return absl::InvalidArgumentError(fmt::format("an invite is valid for {} to {} seconds, not {}",
                                                  kShortestInviteS, kLongestInviteS, valid_s));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string root_der, trust::PemToDer(federation_.root_pem));
  const absl::Time not_after = clock_.Now() + absl::Seconds(valid_s);
  std::string token(kTokenBytes, '\0');
  random_.Fill({reinterpret_cast<uint8_t*>(token.data()), token.size()});
  v1::Invite invite;
  {
    absl::MutexLock lock(&mu_);
    invite.set_federation_id(manifest_.federation_id());
    invite.set_federation_name(manifest_.name());
    invite.set_enrolment_address(addresses_.enrolment);
    invite.set_coordinator_address(addresses_.coordinator);
  }
  invite.set_root_certificate_der(root_der);
  invite.set_token(token);
  invite.set_not_after_unix_s(absl::ToUnixSeconds(not_after));
  Batch batch;
  batch.invites = {{Sha256Of(token), not_after, ""}};
  CHOIR_RETURN_IF_ERROR(store_.Commit(batch));
  v1::CreateInviteResponse response;
  response.set_invite(trust::EncodeInvite(invite));
  response.set_not_after_unix_s(invite.not_after_unix_s());
  return response;
}

absl::Status Members::Admit(const std::string& node_id) {
  absl::MutexLock lock(&mu_);
  if (revoked_.contains(node_id)) {
    return absl::PermissionDeniedError("this device has been revoked");
  }
  if (!nodes_.contains(node_id)) {
    return absl::PermissionDeniedError(
        "this device is not enrolled here; enrol it again with a new invite");
  }
  const absl::Time now = clock_.Now();
  const auto [it, fresh] =
      callers_.try_emplace(node_id, Caller{{kNodeBurst, kNodePerSecond, now}, now, true});
  it->second.last_seen = now;
  it->second.dirty = true;
  if (it->second.bucket.Take(now)) return absl::OkStatus();
  return absl::ResourceExhaustedError("this device calls too often; wait a moment");
}

std::optional<NodeRecord> Members::Find(const std::string& node_id) const {
  absl::MutexLock lock(&mu_);
  const auto it = nodes_.find(node_id);
  if (it == nodes_.end()) return std::nullopt;
  return it->second;
}

std::vector<NodeRecord> Members::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<NodeRecord> out;
  for (const auto& [id, node] : nodes_) {
    out.push_back(node);
    const auto caller = callers_.find(id);
    if (caller != callers_.end()) out.back().last_seen = caller->second.last_seen;
  }
  return out;
}

uint64_t Members::Count() const {
  absl::MutexLock lock(&mu_);
  return nodes_.size();
}

bool Members::IsRevoked(const std::string& node_id) const {
  absl::MutexLock lock(&mu_);
  return revoked_.contains(node_id);
}

v1::Manifest Members::manifest() const {
  absl::MutexLock lock(&mu_);
  return manifest_;
}

v1::SignedDocument Members::manifest_document() const {
  absl::MutexLock lock(&mu_);
  return manifest_document_;
}

uint64_t Members::manifest_serial() const {
  absl::MutexLock lock(&mu_);
  return manifest_.serial();
}

absl::Status Members::PublishManifest(const v1::SignedDocument& document) {
  CHOIR_ASSIGN_OR_RETURN(v1::Manifest manifest,
                         trust::OpenManifest(document, federation_.authority, clock_.Now()));
  absl::MutexLock lock(&mu_);
  if (manifest.serial() <= manifest_.serial()) {
    return absl::FailedPreconditionError(fmt::format(
        "the manifest's serial is {}; it must be above {}", manifest.serial(), manifest_.serial()));
  }
  if (manifest.coordinator_key() != manifest_.coordinator_key() ||
      manifest.enrolment_key() != manifest_.enrolment_key()) {
    return absl::FailedPreconditionError(
        "the manifest names other keys than this coordinator's; start it with their folder");
  }
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(folder_.Manifest(), document.SerializeAsString()));
  TakeManifest(document, std::move(manifest));
  return absl::OkStatus();
}

absl::Status Members::Flush() {
  Batch batch;
  {
    absl::MutexLock lock(&mu_);
    for (auto& [id, caller] : callers_) {
      if (!caller.dirty) continue;
      caller.dirty = false;
      NodeRecord& node = nodes_.at(id);
      node.last_seen = caller.last_seen;
      batch.nodes.push_back(node);
    }
  }
  return batch.nodes.empty() ? absl::OkStatus() : store_.Commit(batch);
}

}  // namespace choir::coordinator
