#include "node/task/test_cheating_coordinator.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/file.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/test_direct_calls.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/documents.h"
#include "proto/trust/invite.h"
#include "secure-agg/core/transcript.h"

namespace choir::node {
namespace {

using coordinator::TestNode;
using secagg::KeyListEntry;
using trust::SessionStage;

constexpr uint32_t kAskAgainMs = 20;
constexpr uint64_t kMaxBytes = uint64_t{1} << 20;

template <typename Message>
void Resign(const trust::SigningKey& key, std::string_view domain, v1::SignedDocument& document,
            const std::function<void(Message&)>& change, bool sign) {
  Message message;
  CHOIR_CHECK(message.ParseFromString(document.body()));
  if (change) change(message);
  if (sign) {
    document = trust::SignDocument(key, domain, message);
  } else {
    document.set_body(message.SerializeAsString());
  }
}

// The message in `body`, changed.
template <typename Message>
void Change(std::string& body, absl::StatusOr<Message> (*decode)(std::span<const uint8_t>),
            const std::function<void(Message&)>& change) {
  if (!change) return;
  absl::StatusOr<Message> message = decode(AsBytes(body));
  CHOIR_CHECK(message.ok());
  change(*message);
  body = std::string(AsChars(secagg::Encode(*message)));
}

}  // namespace

CheatingCoordinator::CheatingCoordinator(const std::string& folder, const Clock& clock,
                                         RandomSource& random)
    : clock_(clock),
      random_(random),
      made_(folder, clock.Now()),
      federation_(coordinator::LoadFederation(made_.folder(), clock.Now()).value()) {
  store_ = coordinator::StoreKinds()[0].open(made_.folder().Database()).value();
  blobs_ = coordinator::OpenDirectoryBlobStore(made_.folder().Blobs(), 1 << 20).value();
  coordinator_ =
      coordinator::Coordinator::Open(federation_, made_.folder(), *store_, *blobs_, clock_, random_)
          .value();
  coordinator_->members().SetAddresses({"localhost:2", "localhost:1"});
  CHOIR_CHECK(coordinator_->StartRun(coordinator::TestRun(*blobs_, "fedavg", 1)).ok());
  const std::string id = federation_.manifest.federation_id();
  for (uint64_t i = 0; i < 3; ++i) {
    peers_.push_back(std::make_unique<TestNode>(i, id, random_));
    peers_.back()->Joined(EnrolNode(*peers_.back()));
  }
  victim_ = std::make_unique<TestNode>(3, id, random_);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(
      "127.0.0.1:0", rpc::MutualServerCredentials(federation_.root_pem, federation_.tls), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  CHOIR_CHECK(server_ != nullptr && port_ != 0);
  driver_.emplace(*coordinator_, [] {});
}

CheatingCoordinator::~CheatingCoordinator() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

v1::EnrolResponse CheatingCoordinator::EnrolNode(TestNode& node) {
  const auto invite = coordinator_->members().CreateInvite(3600).value();
  const auto token = trust::DecodeInvite(invite.invite(), clock_.Now())->token();
  return coordinator_->members().Enrol(node.EnrolRequest(token)).value();
}

v1::Membership CheatingCoordinator::Enrol() {
  victims_enrolment_ = EnrolNode(*victim_);
  v1::Membership membership;
  membership.set_root_pem(federation_.root_pem);
  membership.set_coordinator_address(fmt::format("127.0.0.1:{}", port_));
  membership.set_certificate_chain_pem(victims_enrolment_.certificate_chain_pem());
  *membership.mutable_device_credential() = victims_enrolment_.device_credential();
  *membership.mutable_manifest() = victims_enrolment_.manifest();
  return membership;
}

bool CheatingCoordinator::StepPeers() {
  bool moved = false;
  for (const auto& peer : peers_) {
    if (cheat.other_adapter) RecordKeys();
    coordinator::DirectCalls calls(*coordinator_, peer->id());
    moved = peer->Step(calls, clock_.Now()).value_or(false) || moved;
  }
  return moved;
}

std::string CheatingCoordinator::Plant(const std::string& bytes) {
  const Digest digest = Sha256Of(bytes);
  const std::string id(AsChars(digest));
  planted_[id] = bytes;
  return id;
}

const trust::SigningKey& CheatingCoordinator::KeyOf(const std::string& node_id) const {
  for (const auto& peer : peers_) {
    if (peer->id() == node_id) return peer->key();
  }
  return victim_->key();
}

void CheatingCoordinator::Corrupt(v1::CheckInResponse::Task& task) const {
  Resign<v1::RunConfig>(key(), trust::kRunDomain, *task.mutable_run_config(), cheat.run, true);
  Resign<v1::AdapterVersion>(key(), trust::kAdapterDomain, *task.mutable_adapter_version(),
                             cheat.version, true);
  const auto change = [&](v1::RoundTask& round) {
    if (cheat.name_run) {
      round.set_run_config_digest(std::string(AsChars(trust::DocumentDigest(task.run_config()))));
    }
    if (cheat.task) cheat.task(round);
  };
  Resign<v1::RoundTask>(key(), trust::kTaskDomain, *task.mutable_task(), change, cheat.sign_task);
}

grpc::Status CheatingCoordinator::CheckIn(grpc::ServerContext*, const v1::CheckInRequest* request,
                                          v1::CheckInResponse* response) {
  absl::StatusOr<v1::CheckInResponse> answer = coordinator_->CheckIn(victim_->id(), *request);
  if (!answer.ok()) return rpc::ToGrpc(answer.status());
  *response = *std::move(answer);
  if (response->has_task()) Corrupt(*response->mutable_task());
  return grpc::Status::OK;
}

grpc::Status CheatingCoordinator::FetchBlob(grpc::ServerContext*,
                                            const v1::FetchBlobRequest* request,
                                            grpc::ServerWriter<v1::BlobChunk>* writer) {
  std::string bytes;
  if (const auto it = planted_.find(request->digest()); it != planted_.end()) {
    bytes = it->second;
  } else {
    const absl::StatusOr<Digest> digest = coordinator::DigestFrom(request->digest(), "digest");
    if (!digest.ok()) return rpc::ToGrpc(digest.status());
    absl::StatusOr<std::string> read = blobs_->Read(*digest, 0, kMaxBytes);
    if (!read.ok()) return rpc::ToGrpc(read.status());
    bytes = *std::move(read);
  }
  v1::BlobChunk chunk;
  chunk.set_offset(request->offset());
  chunk.set_total_bytes(bytes.size());
  chunk.set_data(bytes.substr(std::min<size_t>(request->offset(), bytes.size())));
  writer->Write(chunk);
  return grpc::Status::OK;
}

grpc::Status CheatingCoordinator::ReportProgress(grpc::ServerContext*,
                                                 const v1::ProgressRequest* request,
                                                 v1::ProgressResponse* response) {
  absl::StatusOr<v1::ProgressResponse> answer = coordinator_->Report(victim_->id(), *request);
  if (!answer.ok()) return rpc::ToGrpc(answer.status());
  *response = *std::move(answer);
  return grpc::Status::OK;
}

grpc::Status CheatingCoordinator::JoinCohort(grpc::ServerContext*,
                                             const v1::JoinCohortRequest* request,
                                             v1::JoinCohortResponse* response) {
  const auto answer = coordinator_->Join(victim_->id(), *request);
  if (!answer.ok()) return rpc::ToGrpc(answer.status());
  response->set_wait_ms(kAskAgainMs);
  if (!answer->has_value()) return grpc::Status::OK;
  {
    absl::MutexLock lock(&mu_);
    // No second time: the victim would refuse it as a replay.
    if (!session_id_.empty()) return grpc::Status::OK;
    config_ = secagg::DecodeSessionConfig(AsBytes((*answer)->session_config())).value();
    session_id_ = std::string(AsChars(config_.session_id));
  }
  secagg::SessionConfig told = config_;
  if (cheat.config) cheat.config(told);
  if (cheat.config && cheat.sign_config) CHOIR_CHECK(secagg::SignConfig(signer_, told).ok());
  response->set_session_config(std::string(AsChars(secagg::Encode(told))));
  return grpc::Status::OK;
}

grpc::Status CheatingCoordinator::SendSessionMessage(grpc::ServerContext*,
                                                     const v1::SessionMessage* request,
                                                     v1::SessionAck*) {
  if (cheat.other_adapter) {
    const auto keys = secagg::DecodeAdvertiseKeys(AsBytes(request->body()));
    absl::MutexLock lock(&mu_);
    if (keys.ok()) victims_keys_ = *keys;  // its shares are of no use to anybody
    return grpc::Status::OK;
  }
  return rpc::ToGrpc(coordinator_->TakeMessage(victim_->id(), *request));
}

grpc::Status CheatingCoordinator::UploadMaskedInput(
    grpc::ServerContext*, grpc::ServerReader<v1::MaskedInputChunk>* reader,
    v1::UploadAck* response) {
  v1::MaskedInputChunk message;
  while (reader->Read(&message)) {
    absl::StatusOr<v1::UploadAck> ack = coordinator_->TakeUpload(victim_->id(), message);
    if (!ack.ok()) return rpc::ToGrpc(ack.status());
    *response = *std::move(ack);
  }
  return grpc::Status::OK;
}

grpc::Status CheatingCoordinator::QueryUpload(grpc::ServerContext*,
                                              const v1::QueryUploadRequest* request,
                                              v1::UploadAck* response) {
  absl::StatusOr<v1::UploadAck> ack =
      coordinator_->QueryUpload(victim_->id(), request->session_id());
  if (!ack.ok()) return rpc::ToGrpc(ack.status());
  *response = *std::move(ack);
  return grpc::Status::OK;
}

void CheatingCoordinator::RecordKeys() {
  v1::PollSessionRequest request;
  {
    absl::MutexLock lock(&mu_);
    if (session_id_.empty() || peers_keys_.has_value()) return;
    request.set_session_id(session_id_);
  }
  const auto answer = coordinator_->Poll(peers_[0]->id(), request);
  if (!answer.ok() || !answer->has_value() || !(*answer)->has_message()) return;
  if ((*answer)->message().stage() != static_cast<uint32_t>(SessionStage::kKeyList)) return;
  absl::MutexLock lock(&mu_);
  peers_keys_ = **answer;
}

// What the honest nodes were told, with the victim's keys among the others'; then shares that none
// of them sealed for it, since none agrees with it on the session.
absl::StatusOr<std::optional<v1::SessionBroadcast>> CheatingCoordinator::ForVictimApart(
    uint32_t after_stage) {
  absl::MutexLock lock(&mu_);
  if (!peers_keys_.has_value() || !victims_keys_.has_value()) return std::nullopt;
  v1::SessionBroadcast answer = *peers_keys_;
  const std::string credential = victims_enrolment_.device_credential().SerializeAsString();
  const KeyListEntry own{
      victim_->key().public_key(), {credential.begin(), credential.end()}, *victims_keys_};
  const auto insert = [&own](secagg::KeyList& list) {
    list.entries.push_back(own);
    std::ranges::sort(list.entries, {}, [](const auto& e) { return e.keys.node_id; });
  };
  Change<secagg::KeyList>(*answer.mutable_message()->mutable_body(), &secagg::DecodeKeyList,
                          insert);
  if (after_stage < static_cast<uint32_t>(SessionStage::kKeyList)) return answer;
  secagg::ShareDelivery delivery{config_.session_id, {}, {}};
  const auto list = secagg::DecodeKeyList(AsBytes(answer.message().body()));
  CHOIR_CHECK(list.ok());
  for (const KeyListEntry& entry : list->entries) {
    delivery.members.push_back(entry.keys.node_id);
    if (entry.keys.node_id == victim_->id()) continue;
    delivery.shares.push_back({entry.keys.node_id, {0x5a}});
  }
  const std::vector<uint8_t> body = secagg::Encode(delivery);
  answer.mutable_message()->set_stage(static_cast<uint32_t>(SessionStage::kShareDelivery));
  answer.mutable_message()->set_kind(body[0]);
  answer.mutable_message()->set_body(std::string(AsChars(body)));
  return answer;
}

void CheatingCoordinator::Corrupt(v1::SessionBroadcast& broadcast) {
  std::string& body = *broadcast.mutable_message()->mutable_body();
  switch (static_cast<SessionStage>(broadcast.message().stage())) {
    case SessionStage::kKeyList:
      return Change<secagg::KeyList>(body, &secagg::DecodeKeyList, cheat.keys);
    case SessionStage::kShareDelivery:
      return Change<secagg::ShareDelivery>(body, &secagg::DecodeShareDelivery, cheat.delivery);
    case SessionStage::kSurvivorList:
      return Change<secagg::SurvivorList>(body, &secagg::DecodeSurvivorList, cheat.survivors);
    case SessionStage::kSurvivorSignatures:
      return Change<secagg::SurvivorSignatures>(body, &secagg::DecodeSurvivorSignatures,
                                                cheat.signatures);
    case SessionStage::kRoundResult: {
      if (!cheat.result) return;
      const auto change = [this](secagg::RoundResult& result) {
        cheat.result(result);
        if (cheat.sign_result) CHOIR_CHECK(secagg::SignResult(std::nullopt, signer_, result).ok());
      };
      return Change<secagg::RoundResult>(body, &secagg::DecodeRoundResult, change);
    }
    default:
      return;
  }
}

grpc::Status CheatingCoordinator::PollSession(grpc::ServerContext*,
                                              const v1::PollSessionRequest* request,
                                              v1::SessionBroadcast* response) {
  const auto answer = cheat.other_adapter ? ForVictimApart(request->after_stage())
                                          : coordinator_->Poll(victim_->id(), *request);
  if (!answer.ok()) return rpc::ToGrpc(answer.status());
  if (answer->has_value()) {
    *response = **answer;
    if (response->has_message()) Corrupt(*response);
  } else {
    response->set_wait_ms(kAskAgainMs);
  }
  return grpc::Status::OK;
}

grpc::Status CheatingCoordinator::ListAdapterVersions(grpc::ServerContext*,
                                                      const v1::ListAdapterVersionsRequest* request,
                                                      v1::ListAdapterVersionsResponse* response) {
  absl::StatusOr<v1::ListAdapterVersionsResponse> answer = coordinator_->ListVersions(*request);
  if (!answer.ok()) return rpc::ToGrpc(answer.status());
  *response = *std::move(answer);
  if (cheat.history) cheat.history(*response);
  return grpc::Status::OK;
}

grpc::Status CheatingCoordinator::GetManifest(grpc::ServerContext*, const v1::GetManifestRequest*,
                                              v1::GetManifestResponse* response) {
  *response->mutable_manifest() = coordinator_->members().manifest_document();
  return grpc::Status::OK;
}

}  // namespace choir::node
