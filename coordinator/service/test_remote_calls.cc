#include "coordinator/service/test_remote_calls.h"

#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "choir/v1/enrolment.grpc.pb.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/invite.h"

namespace choir::coordinator {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(1);

template <typename Response, typename Method>
absl::StatusOr<Response> Call(Method method) {
  const absl::Time limit = absl::Now() + kPatience;
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    context.set_wait_for_ready(true);
    Response response;
    absl::Status status = rpc::FromGrpc(method(&context, &response));
    if (status.ok()) return response;
    if (!absl::IsUnavailable(status) || absl::Now() > limit) return status;
    absl::SleepFor(absl::Milliseconds(50));
  }
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *std::move(value) : T();
}

}  // namespace

RemoteCalls::RemoteCalls(std::shared_ptr<grpc::Channel> channel)
    : stub_(v1::NodeService::NewStub(std::move(channel))) {}

absl::StatusOr<v1::CheckInResponse> RemoteCalls::CheckIn() {
  return Call<v1::CheckInResponse>(
      [&](auto* context, auto* response) { return stub_->CheckIn(context, {}, response); });
}

absl::StatusOr<std::optional<std::string>> RemoteCalls::Join(const v1::JoinCohortRequest& request) {
  auto response = Call<v1::JoinCohortResponse>(
      [&](auto* context, auto* out) { return stub_->JoinCohort(context, request, out); });
  if (!response.ok()) return response.status();
  if (!response->has_session_config()) return std::nullopt;
  return response->session_config();
}

absl::StatusOr<std::optional<v1::SessionBroadcast>> RemoteCalls::Poll(
    const v1::PollSessionRequest& request) {
  auto response = Call<v1::SessionBroadcast>(
      [&](auto* context, auto* out) { return stub_->PollSession(context, request, out); });
  if (!response.ok()) return response.status();
  if (response->answer_case() == v1::SessionBroadcast::kWaitMs) return std::nullopt;
  return *std::move(response);
}

absl::Status RemoteCalls::Send(const v1::SessionMessage& message) {
  return Call<v1::SessionAck>([&](auto* context, auto* out) {
           return stub_->SendSessionMessage(context, message, out);
         })
      .status();
}

absl::StatusOr<v1::UploadAck> RemoteCalls::Upload(const std::vector<v1::MaskedInputChunk>& stream) {
  return Call<v1::UploadAck>([&](auto* context, auto* out) {
    const auto writer = stub_->UploadMaskedInput(context, out);
    for (const v1::MaskedInputChunk& message : stream) writer->Write(message);
    writer->WritesDone();
    return writer->Finish();
  });
}

absl::StatusOr<std::string> RemoteCalls::Fetch(const std::string& digest, uint64_t offset) {
  std::string out;
  absl::Status status = Call<v1::BlobChunk>([&](auto* context, auto* chunk) {
                          v1::FetchBlobRequest request;
                          request.set_digest(digest);
                          request.set_offset(offset);
                          out.clear();
                          const auto reader = stub_->FetchBlob(context, request);
                          while (reader->Read(chunk)) out += chunk->data();
                          return reader->Finish();
                        }).status();
  if (!status.ok()) return status;
  return out;
}

RemoteOperator::RemoteOperator(std::shared_ptr<grpc::Channel> channel)
    : stub_(v1::OperatorService::NewStub(std::move(channel))) {}

std::string RemoteOperator::Token() {
  v1::CreateInviteRequest request;
  request.set_valid_s(600);
  const auto made = Must(Call<v1::CreateInviteResponse>(
      [&](auto* context, auto* out) { return stub_->CreateInvite(context, request, out); }));
  return Must(trust::DecodeInvite(made.invite(), absl::Now())).token();
}

v1::RunStatus RemoteOperator::StartRun(const v1::RunConfig& config) {
  v1::StartRunRequest request;
  *request.mutable_config() = config;
  return Must(Call<v1::RunStatus>(
      [&](auto* context, auto* out) { return stub_->StartRun(context, request, out); }));
}

v1::RunStatus RemoteOperator::GetRun(const std::string& run_id) {
  v1::GetRunRequest request;
  request.set_run_id(run_id);
  return Must(Call<v1::RunStatus>(
      [&](auto* context, auto* out) { return stub_->GetRun(context, request, out); }));
}

v1::ListAdapterVersionsResponse RemoteOperator::ListVersions(const std::string& run_id) {
  v1::ListAdapterVersionsRequest request;
  request.set_run_id(run_id);
  request.set_after_version(-1);
  return Must(Call<v1::ListAdapterVersionsResponse>(
      [&](auto* context, auto* out) { return stub_->ListAdapterVersions(context, request, out); }));
}

v1::EnrolResponse EnrolAt(const std::string& address, const std::string& root_pem,
                          const v1::EnrolRequest& request) {
  const auto stub = v1::EnrolmentService::NewStub(rpc::OpenChannel(address, root_pem, nullptr));
  return Must(Call<v1::EnrolResponse>(
      [&](auto* context, auto* out) { return stub->Enrol(context, request, out); }));
}

}  // namespace choir::coordinator
