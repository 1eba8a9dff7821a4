#include "coordinator/service/session.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"

namespace choir::coordinator {
namespace {

using secagg::AbortReason;
using secagg::NodeState;
using secagg::ServerStage;
using trust::SessionStage;

// The kinds of messages in secure-agg's encoding (its first byte).
constexpr uint32_t kAdvertiseKeys = 2;
constexpr uint32_t kShareKeys = 4;
constexpr uint32_t kConsistencySignature = 9;
constexpr uint32_t kUnmaskShares = 11;
// While chunks arrive the masking stage waits longer, but not for ever: a node may drip.
constexpr int kMaxMaskingWaits = 10;

std::string Text(std::span<const uint8_t> bytes) {
  return std::string(AsChars(bytes));
}

std::string ReasonName(const absl::Status& status) {
  const auto reason = secagg::ReasonOf(status);
  return std::string(secagg::AbortReasonName(reason.value_or(AbortReason::kCancelled)));
}

v1::SessionBroadcast Aborted(std::string_view reason) {
  v1::SessionBroadcast broadcast;
  broadcast.set_aborted_reason(std::string(reason));
  return broadcast;
}

v1::SessionBroadcast Message(SessionStage stage, std::string body) {
  v1::SessionBroadcast broadcast;
  v1::SessionBroadcast::Message& message = *broadcast.mutable_message();
  message.set_stage(static_cast<uint32_t>(stage));
  message.set_kind(static_cast<uint8_t>(body[0]));
  message.set_body(std::move(body));
  return broadcast;
}

// The broadcast that opens a stage.
SessionStage BroadcastOf(ServerStage stage) {
  switch (stage) {
    case ServerStage::kSharing:
      return SessionStage::kKeyList;
    case ServerStage::kMasking:
      return SessionStage::kShareDelivery;
    case ServerStage::kSigning:
      return SessionStage::kSurvivorList;
    case ServerStage::kUnmasking:
      return SessionStage::kSurvivorSignatures;
    default:
      return SessionStage::kNone;
  }
}

}  // namespace

std::string SessionOwner(std::string_view session_id) {
  return fmt::format("session:{}", session_id);
}

Session::Session(Place place, secagg::ServerSession core,
                 std::unique_ptr<trust::SessionVerifier> verifier, absl::Time now)
    : place_(std::move(place)),
      config_(core.config()),
      id_(Text(core.config().session_id)),
      verifier_(std::move(verifier)),
      core_(std::move(core)),
      stage_(core_->stage()),
      stage_began_(now) {}

absl::StatusOr<std::unique_ptr<Session>> Session::Open(
    Place place, const secagg::SessionConfig& config,
    std::unique_ptr<trust::SessionVerifier> verifier, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(secagg::ServerSession core,
                         secagg::ServerSession::Open(config, *verifier));
  return std::unique_ptr<Session>(
      new Session(std::move(place), std::move(core), std::move(verifier), now));
}

absl::StatusOr<std::unique_ptr<Session>> Session::Restore(
    Place place, const std::vector<PieceRecord>& stored,
    std::unique_ptr<trust::SessionVerifier> verifier, absl::Time now) {
  std::vector<secagg::SessionPiece> pieces;
  for (const PieceRecord& piece : stored) {
    pieces.push_back({piece.key, {piece.value.begin(), piece.value.end()}});
  }
  CHOIR_ASSIGN_OR_RETURN(secagg::ServerSession core,
                         secagg::ServerSession::Restore(pieces, *verifier));
  std::unique_ptr<Session> session(
      new Session(std::move(place), std::move(core), std::move(verifier), now));
  CHOIR_RETURN_IF_ERROR(session->LoadSpool(now));
  return session;
}

std::string Session::UploadPath(const NodeId& node) const {
  return fmt::format("{}/{}.input", place_.folder, HexEncode(AsBytes(node)));
}

absl::Status Session::LoadSpool(absl::Time now) {
  for (const NodeId& node : place_.members) {
    if (!std::filesystem::exists(UploadPath(node))) continue;
    absl::StatusOr<std::shared_ptr<Upload>> upload = Upload::Resume(UploadPath(node), now);
    // A torn upload that was never counted is sent again from its start.
    if (upload.ok()) uploads_[node] = *std::move(upload);
  }
  for (const NodeId& node : core_->InputsToReplay()) {
    const std::shared_ptr<Upload> upload = FindUpload(node);
    if (upload == nullptr || !upload->complete()) {
      return absl::DataLossError(fmt::format("the masked input of node {} is gone from {}",
                                             HexEncode(AsBytes(node)).substr(0, 16),
                                             place_.folder));
    }
    CHOIR_RETURN_IF_ERROR(CountUpload(*upload));
  }
  if (stage_ != ServerStage::kMasking) return absl::OkStatus();
  for (const auto& [node, upload] : uploads_) {
    if (upload->complete()) CHOIR_RETURN_IF_ERROR(CountUpload(*upload));
  }
  return absl::OkStatus();
}

bool Session::IsMember(const NodeId& node) const {
  return std::binary_search(place_.members.begin(), place_.members.end(), node);
}

absl::Status Session::Handle(const secagg::DeviceIdentity& from, uint32_t kind,
                             std::span<const uint8_t> body) {
  if (!IsMember(from.node_id)) {
    return secagg::Refusal(AbortReason::kUnknownMember, "this node is not of the session's cohort");
  }
  if (!core_.has_value()) {
    if (failure_.has_value()) {
      return absl::AbortedError(fmt::format("the session has ended: {}", failure_->reason));
    }
    // The sum is being opened: an answer is no longer needed, and a repeated one has been counted.
    if (kind == kUnmaskShares) return absl::OkStatus();
    return secagg::Refusal(AbortReason::kTooLate, "the session is at its end");
  }
  switch (kind) {
    case kAdvertiseKeys:
      return core_->AddAdvertiseKeys(from, body);
    case kShareKeys:
      return core_->AddShareKeys(from.node_id, body);
    case kConsistencySignature:
      return core_->AddConsistencySignature(from.node_id, body);
    case kUnmaskShares:
      return core_->AddUnmaskShares(from.node_id, body);
    default:
      return secagg::Refusal(AbortReason::kMalformedMessage,
                             fmt::format("kind {} is none that a node sends here", kind));
  }
}

absl::StatusOr<std::shared_ptr<Upload>> Session::BeginUpload(const NodeId& node,
                                                             std::span<const uint8_t> header,
                                                             absl::Time now) {
  if (!IsMember(node)) {
    return secagg::Refusal(AbortReason::kUnknownMember, "this node is not of the session's cohort");
  }
  std::shared_ptr<Upload> known = FindUpload(node);
  if (known != nullptr) {
    if (std::ranges::equal(known->header(), header)) return known;
    return secagg::Refusal(AbortReason::kSecondMaskedInput,
                           "this node has begun to send another masked input");
  }
  if (!core_.has_value()) {
    return secagg::Refusal(AbortReason::kTooLate, "the session is at its end");
  }
  CHOIR_ASSIGN_OR_RETURN(const secagg::MaskedInputHeader decoded,
                         core_->CheckInputHeader(node, header));
  CHOIR_RETURN_IF_ERROR(MakeDirectories(place_.folder, 0700));
  CHOIR_ASSIGN_OR_RETURN(std::shared_ptr<Upload> upload,
                         Upload::Begin(UploadPath(node), decoded, header, now));
  uploads_[node] = upload;
  return upload;
}

std::shared_ptr<Upload> Session::FindUpload(const NodeId& node) const {
  const auto it = uploads_.find(node);
  return it == uploads_.end() ? nullptr : it->second;
}

absl::Status Session::CountUpload(const Upload& upload) {
  if (!core_.has_value()) {
    return secagg::Refusal(AbortReason::kTooLate, "the session is at its end");
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> packed, upload.Read());
  return core_->AddInput(upload.node(), upload.header(), packed);
}

void Session::Withdraw(const NodeId& node) {
  if (core_.has_value()) (void)core_->Withdraw(node);
}

bool Session::StageComplete() const {
  // The configuration allows more than this cohort has.
  if (stage_ == ServerStage::kAdvertising) {
    return core_->Members().size() == place_.members.size();
  }
  return core_->StageComplete();
}

absl::Time Session::Deadline() const {
  absl::Time deadline = stage_began_ + place_.stage_wait;
  if (stage_ != ServerStage::kMasking) return deadline;
  for (const auto& [node, upload] : uploads_) {
    if (upload->complete()) continue;
    deadline = std::max(deadline, upload->last_progress() + place_.stage_wait);
  }
  return std::min(deadline, stage_began_ + place_.stage_wait * kMaxMaskingWaits);
}

absl::Time Session::NextDeadline() const {
  return core_.has_value() ? Deadline() : absl::InfiniteFuture();
}

bool Session::Advance(absl::Time now) {
  bool moved = false;
  while (core_.has_value() && stage_ < ServerStage::kUnmasking &&
         (StageComplete() || now >= Deadline())) {
    Close(now);
    moved = true;
  }
  return moved;
}

bool Session::ReadyToUnmask(absl::Time now) const {
  return core_.has_value() && stage_ == ServerStage::kUnmasking &&
         (StageComplete() || now >= Deadline());
}

void Session::Close(absl::Time now) {
  const ServerStage before = stage_;
  std::vector<NodeId> answered = Answered();
  const absl::Status closed = core_->CloseStage();
  stage_ = core_->stage();
  stage_began_ = now;
  if (!closed.ok()) NoteFailure(before, std::move(answered), closed);
}

std::vector<NodeId> Session::Answered() const {
  const NodeState wanted =
      stage_ == ServerStage::kAdvertising ? NodeState::kAdvertised : NodeState::kShared;
  std::vector<NodeId> out;
  for (const NodeId& node : place_.members) {
    if (core_->StateOf(node) == wanted) out.push_back(node);
  }
  return out;
}

void Session::NoteFailure(ServerStage stage, std::vector<NodeId> answered,
                          const absl::Status& why) {
  Failure failure{ReasonName(why), std::string(why.message()), {}, {}};
  // From the share delivery on, a masked input may have left any node, even if none came here.
  if (stage >= ServerStage::kMasking) {
    failure.spent = place_.members;
  } else {
    failure.alive = std::move(answered);
  }
  stage_ = ServerStage::kAborted;
  core_.reset();
  failure_ = std::move(failure);
}

secagg::ServerSession Session::TakeForUnmasking() {
  secagg::ServerSession core = *std::move(core_);
  core_.reset();
  return core;
}

void Session::FailUnmasking(const absl::Status& why) {
  NoteFailure(ServerStage::kUnmasking, {}, why);
}

void Session::Abort(AbortReason reason) {
  if (failure_.has_value()) return;
  NoteFailure(ServerStage::kMasking, {}, secagg::Refusal(reason, secagg::AbortReasonText(reason)));
}

std::optional<v1::SessionBroadcast> Session::BroadcastFor(const NodeId& node,
                                                          uint32_t after_stage) const {
  if (failure_.has_value()) return Aborted(failure_->reason);
  if (!core_.has_value()) return std::nullopt;
  const SessionStage now = BroadcastOf(stage_);
  if (static_cast<uint32_t>(now) <= after_stage) return std::nullopt;
  absl::StatusOr<std::vector<uint8_t>> body = core_->MessageFor(node);
  if (!body.ok()) return Aborted(ReasonName(body.status()));
  return Message(now, Text(*body));
}

SessionRecord Session::Record() const {
  SessionRecord record;
  record.session_id = id_;
  record.run_id = place_.run_id;
  record.round = place_.round;
  record.cohort = place_.cohort;
  record.counter = config_.round_counter;
  record.open = !failure_.has_value();
  if (failure_.has_value()) record.abort_reason = failure_->reason;
  return record;
}

Batch::PieceWrite Session::Changes() const {
  Batch::PieceWrite write{SessionOwner(id_), failure_.has_value(), {}};
  if (!core_.has_value()) return write;
  for (const secagg::SessionPiece& piece : core_->Changes()) {
    write.pieces.push_back({piece.key, Text(piece.value)});
  }
  return write;
}

void Session::Stored() {
  if (core_.has_value()) core_->Stored();
}

std::string_view Session::StageName() const {
  return secagg::ServerStageName(stage_);
}

uint32_t Session::Uploaded() const {
  return static_cast<uint32_t>(
      std::ranges::count_if(uploads_, [](const auto& entry) { return entry.second->complete(); }));
}

}  // namespace choir::coordinator
