#include "node/task/session_driver.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/status_macros.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::node {
namespace {

using secagg::ClientSession;
using secagg::ClientStage;
using trust::SessionStage;

constexpr absl::Duration kFirstRetry = absl::Milliseconds(200);
constexpr absl::Duration kLastRetry = absl::Seconds(5);
constexpr uint32_t kLongestWaitMs = 20000;

uint32_t Number(SessionStage stage) {
  return static_cast<uint32_t>(stage);
}

// The stage that waits for a broadcast, and the failpoint after its answer has left. (Builds
// without failpoints do not ask.)
[[maybe_unused]] const char* FailpointAfter(ClientStage stage) {
  switch (stage) {
    case ClientStage::kAdvertised:
      return "node-advertised";
    case ClientStage::kShared:
      return "node-shared";
    case ClientStage::kSigned:
      return "node-signed";
    case ClientStage::kAnswered:
      return "node-answered";
    default:
      return "node-session-step";
  }
}

[[maybe_unused]] const char* FailpointBefore(ClientStage stage) {
  switch (stage) {
    case ClientStage::kAdvertised:
      return "node-advertise-journalled";
    case ClientStage::kShared:
      return "node-share-journalled";
    case ClientStage::kMasked:
      return "node-masked-journalled";
    case ClientStage::kSigned:
      return "node-sign-journalled";
    case ClientStage::kAnswered:
      return "node-answer-journalled";
    default:
      return "node-session-journalled";
  }
}

}  // namespace

SessionDriver::SessionDriver(CoordinatorClient& client, const WorkFolder& work,
                             const secagg::ClientValues& values, size_t threads,
                             std::function<bool(absl::Duration)> sleep, BeforeInput before_input)
    : client_(client),
      work_(work),
      values_(values),
      threads_(threads),
      sleep_(std::move(sleep)),
      before_input_(std::move(before_input)) {}

absl::Status SessionDriver::Persist(const std::function<absl::Status()>& attempt) const {
  absl::Duration pause = kFirstRetry;
  for (;;) {
    absl::Status status = attempt();
    if (status.ok() || !IsPassing(status)) return status;
    if (!sleep_(pause)) return absl::CancelledError("stopping");
    pause = std::min(2 * pause, kLastRetry);
  }
}

absl::Status SessionDriver::Emit(ClientSession& session, absl::StatusOr<secagg::Step> step) {
  const auto persist = [this](std::span<const uint8_t> journal) {
    return work_.SaveJournal(journal);
  };
  if (!step.ok()) {
    // A refusal's tombstone must outlive a crash, too.
    CHOIR_RETURN_IF_ERROR(work_.SaveJournal(session.Snapshot().Expose()));
    return step.status();
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> message, std::move(*step).Release(persist));
  CHOIR_FAILPOINT(FailpointBefore(session.stage()));
  if (message.empty()) return absl::OkStatus();
  v1::SessionMessage request;
  request.set_session_id(session_id_);
  request.set_kind(message.front());
  request.set_body(std::string(AsChars(message)));
  CHOIR_RETURN_IF_ERROR(Persist([this, &request] { return client_.SendSessionMessage(request); }));
  CHOIR_FAILPOINT(FailpointAfter(session.stage()));
  return absl::OkStatus();
}

absl::Status SessionDriver::WaitAndHandle(ClientSession& session, uint32_t after_stage,
                                          Handler handler) {
  for (;;) {
    v1::SessionBroadcast broadcast;
    CHOIR_RETURN_IF_ERROR(Persist([&]() -> absl::Status {
      absl::StatusOr<v1::SessionBroadcast> answer = client_.PollSession(session_id_, after_stage);
      if (answer.ok()) broadcast = *std::move(answer);
      return answer.status();
    }));
    if (broadcast.has_message()) {
      return Emit(session, (session.*handler)(AsBytes(broadcast.message().body())));
    }
    if (!broadcast.aborted_reason().empty()) {
      const auto reason = secagg::AbortReasonFromName(broadcast.aborted_reason());
      const auto known = reason.value_or(secagg::AbortReason::kCancelled);
      CHOIR_RETURN_IF_ERROR(Emit(session, session.Abandon(known)));
      return secagg::Refusal(absl::StatusCode::kAborted, known,
                             "the coordinator ended the session");
    }
    if (!sleep_(absl::Milliseconds(std::min(broadcast.wait_ms(), kLongestWaitMs))))
      return absl::CancelledError("stopping");
  }
}

absl::Status SessionDriver::Upload(ClientSession& session) {
  absl::StatusOr<secagg::Step> step = session.MaskInput(values_, Threads(threads_));
  if (!step.ok()) return Emit(session, std::move(step));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> header,
                         std::move(*step).Release([this](std::span<const uint8_t> journal) {
                           return work_.SaveJournal(journal);
                         }));
  CHOIR_FAILPOINT("node-masked-journalled");
  CHOIR_ASSIGN_OR_RETURN(const secagg::MaskedInputHeader opened,
                         secagg::DecodeMaskedInputHeader(header));
  CHOIR_RETURN_IF_ERROR(before_input_(session, opened));
  CHOIR_FAILPOINT("node-departure-noted");
  const auto chunk = [&session](uint32_t i) -> absl::StatusOr<std::string> {
    CHOIR_FAILPOINT("node-upload-chunk");
    CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, session.Chunk(i));
    return std::string(AsChars(bytes));
  };
  const auto upload = [&]() -> absl::Status {
    uint32_t next = 0;
    const absl::StatusOr<v1::UploadAck> before = client_.QueryUpload(session_id_);
    if (before.ok()) next = before->next_chunk();
    if (before.ok() && before->complete()) return absl::OkStatus();
    CHOIR_ASSIGN_OR_RETURN(const v1::UploadAck after,
                           client_.UploadMaskedInput(session_id_, std::string(AsChars(header)),
                                                     next, session.num_chunks(), chunk));
    return after.complete() ? absl::OkStatus() : absl::UnavailableError("the upload was cut short");
  };
  CHOIR_RETURN_IF_ERROR(Persist(upload));
  CHOIR_FAILPOINT("node-uploaded");
  CHOIR_RETURN_IF_ERROR(Emit(session, session.MarkUploaded()));
  session.ForgetInput();
  return absl::OkStatus();
}

// One stage further.
absl::Status SessionDriver::Advance(ClientSession& session) {
  switch (session.stage()) {
    case ClientStage::kAdvertised:
      return WaitAndHandle(session, Number(SessionStage::kNone), &ClientSession::HandleKeyList);
    case ClientStage::kShared:
      return WaitAndHandle(session, Number(SessionStage::kKeyList),
                           &ClientSession::HandleShareDelivery);
    case ClientStage::kReady:
      return Upload(session);
    case ClientStage::kMasked:
      if (!session.uploaded()) return Upload(session);
      return WaitAndHandle(session, Number(SessionStage::kShareDelivery),
                           &ClientSession::HandleSurvivorList);
    case ClientStage::kSigned:
      return WaitAndHandle(session, Number(SessionStage::kSurvivorList),
                           &ClientSession::HandleSurvivorSignatures);
    case ClientStage::kAnswered:
      return Emit(session, session.Close());
    case ClientStage::kClosed:
    case ClientStage::kAborted:
      return absl::OkStatus();
  }
  return absl::InternalError("a session stage without a step");
}

absl::StatusOr<SessionOutcome> SessionDriver::Run(ClientSession session) {
  session_id_ = std::string(AsChars(session.session_id()));
  absl::Status status;
  const ClientStage first = session.stage();
  // Its last message may not have arrived: the coordinator takes it twice as once. A masked input
  // is sent again by Upload.
  if (first != ClientStage::kClosed && first != ClientStage::kAborted &&
      first != ClientStage::kReady && first != ClientStage::kMasked) {
    status = Emit(session, session.CurrentStep());
  }
  while (status.ok() && session.stage() != ClientStage::kClosed &&
         session.stage() != ClientStage::kAborted) {
    status = Advance(session);
  }
  if (absl::IsCancelled(status) && !secagg::ReasonOf(status).has_value()) return status;
  if (!status.ok() && session.stage() != ClientStage::kAborted &&
      session.stage() != ClientStage::kClosed) {
    // The coordinator refuses for good (it gave up the session, or this node).
    const auto reason = secagg::ReasonOf(status).value_or(secagg::AbortReason::kCancelled);
    CHOIR_RETURN_IF_ERROR(Emit(session, session.Abandon(reason)));
  }
  SessionOutcome outcome;
  outcome.in_the_sum = session.stage() == ClientStage::kClosed;
  outcome.input_spent = session.input_spent();
  outcome.ended = status;
  if (status.ok() && session.abort_reason().has_value()) {
    outcome.ended = secagg::Refusal(*session.abort_reason(), "before a restart");
  }
  return outcome;
}

}  // namespace choir::node
