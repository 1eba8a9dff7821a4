#include "coordinator/service/test_lying_node.h"

#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/core/chunks.h"
#include "secure-agg/core/transcript.h"

namespace choir::coordinator {
namespace {

// First bytes of the messages, as docs/protocol.md has them.
constexpr uint8_t kAdvertiseKeys = 2;
constexpr uint8_t kShareKeys = 4;
constexpr uint8_t kConsistencySignature = 9;
constexpr uint8_t kUnmaskShares = 11;

absl::Status Leave() {
  return absl::CancelledError("the node has hung up");
}

std::string Text(std::span<const uint8_t> bytes) {
  return std::string(AsChars(bytes));
}

}  // namespace

LyingCalls::LyingCalls(std::unique_ptr<RemoteCalls> calls, const TestNode& node)
    : calls_(std::move(calls)), node_(node) {}

absl::Status LyingCalls::Note(absl::Status answer) {
  told_ = true;
  if (!answer.ok()) refusals_.push_back(answer);
  return answer;
}

absl::StatusOr<v1::CheckInResponse> LyingCalls::CheckIn() {
  return calls_->CheckIn();
}

absl::StatusOr<std::optional<std::string>> LyingCalls::Join(const v1::JoinCohortRequest& request) {
  if (lies.hang_up == HangUp::kBeforeJoining) return Leave();
  joined_ = request;
  absl::StatusOr<std::optional<std::string>> config = calls_->Join(request);
  if (config.ok() && config->has_value()) {
    const auto decoded = secagg::DecodeSessionConfig(AsBytes(**config));
    CHOIR_CHECK(decoded.ok());
    h0_ = secagg::HashConfig(*decoded);
    if (lies.in_every_session && session_id_ != Text(decoded->session_id)) told_ = false;
    session_id_ = Text(decoded->session_id);
  }
  return config;
}

absl::StatusOr<std::optional<v1::SessionBroadcast>> LyingCalls::Poll(
    const v1::PollSessionRequest& request) {
  absl::StatusOr<std::optional<v1::SessionBroadcast>> answer = calls_->Poll(request);
  if (!answer.ok() || !answer->has_value() || !(*answer)->has_message()) return answer;
  const std::span<const uint8_t> body = AsBytes((*answer)->message().body());
  using trust::SessionStage;
  switch (static_cast<SessionStage>((*answer)->message().stage())) {
    case SessionStage::kKeyList:
      h1_ = secagg::HashKeyList(h0_, secagg::DecodeKeyList(body).value());
      break;
    case SessionStage::kShareDelivery:
      h2_ = secagg::HashMembers(h1_, secagg::DecodeShareDelivery(body).value().members);
      break;
    case SessionStage::kSurvivorList:
      h3_ = secagg::HashSurvivors(h2_, secagg::DecodeSurvivorList(body).value());
      break;
    default:
      break;
  }
  return answer;
}

std::optional<std::string> LyingCalls::LieAbout(const v1::SessionMessage& message) {
  const std::span<const uint8_t> body = AsBytes(message.body());
  const auto kind = static_cast<uint8_t>(message.kind());
  if (kind == kAdvertiseKeys && lies.keys) {
    secagg::AdvertiseKeys lie = secagg::DecodeAdvertiseKeys(body).value();
    lies.keys(lie);
    if (lies.sign) lie.signature = Sign(secagg::AdvertiseSigningBytes(h0_, lie));
    return Text(secagg::Encode(lie));
  }
  if (kind == kShareKeys && lies.shares) {
    secagg::ShareKeys lie = secagg::DecodeShareKeys(body).value();
    lies.shares(lie);
    if (lies.sign) lie.signature = Sign(secagg::ShareSigningBytes(h0_, h1_, lie));
    return Text(secagg::Encode(lie));
  }
  if (kind == kConsistencySignature && lies.vouch) {
    secagg::ConsistencySignature lie = secagg::DecodeConsistencySignature(body).value();
    lies.vouch(lie);
    if (lies.sign) lie.signature = Sign(secagg::ConsistencySigningBytes(h0_, h1_, h2_, lie.h3));
    return Text(secagg::Encode(lie));
  }
  if (kind == kUnmaskShares && lies.answer) {
    secagg::UnmaskShares lie = secagg::DecodeUnmaskShares(body).value();
    lies.answer(lie);
    if (lies.sign) lie.signature = Sign(secagg::UnmaskSigningBytes(h3_, lie));
    return Text(secagg::Encode(lie));
  }
  return std::nullopt;
}

absl::Status LyingCalls::Send(const v1::SessionMessage& message) {
  using enum HangUp;
  const auto kind = static_cast<uint8_t>(message.kind());
  if ((kind == kAdvertiseKeys && lies.hang_up == kBeforeKeys) ||
      (kind == kShareKeys && lies.hang_up == kBeforeShares) ||
      (kind == kConsistencySignature && lies.hang_up == kBeforeVouching) ||
      (kind == kUnmaskShares && lies.hang_up == kBeforeAnswer)) {
    return Leave();
  }
  // The truth after a lie that was believed would be a second message.
  if (told_ && message.body() == believed_) return absl::OkStatus();
  if (told_) return calls_->Send(message);
  v1::SessionMessage lie = message;
  const bool raw = lies.raw && kind == lies.raw_kind;
  if (raw) {
    lies.raw(lie);
  } else {
    const std::optional<std::string> body = LieAbout(message);
    if (!body.has_value()) return calls_->Send(message);
    lie.set_body(*body);
  }
  if (lies.after_the_truth) {
    CHOIR_RETURN_IF_ERROR(calls_->Send(message));
    (void)Note(calls_->Send(lie));
    return absl::OkStatus();
  }
  if (!Note(calls_->Send(lie)).ok()) return calls_->Send(message);
  believed_ = message.body();
  return absl::OkStatus();
}

std::vector<v1::MaskedInputChunk> LyingCalls::LieAbout(
    const std::vector<v1::MaskedInputChunk>& stream) {
  secagg::MaskedInputHeader header =
      secagg::DecodeMaskedInputHeader(AsBytes(stream[0].body())).value();
  std::vector<uint8_t> packed;
  for (size_t i = 1; i < stream.size(); ++i) {
    const auto chunk = secagg::DecodeMaskedInputChunk(AsBytes(stream[i].body())).value();
    packed.insert(packed.end(), chunk.data.begin(), chunk.data.end());
  }
  if (lies.input) lies.input(packed);
  if (lies.chunk_bytes != 0) header.chunk_bytes = lies.chunk_bytes;
  const secagg::ChunkStream made(header.session_id, header.node_id, packed, header.chunk_bytes);
  header.input_hash = secagg::HashInput(packed, header.chunk_bytes);
  if (lies.header) lies.header(header);
  if (lies.sign) header.signature = Sign(secagg::InputSigningBytes(h0_, h1_, h2_, header));
  std::vector<secagg::MaskedInputChunk> chunks;
  for (uint32_t i = 0; i < made.num_chunks(); ++i) chunks.push_back(made.Chunk(i));
  if (lies.chunks) lies.chunks(chunks);
  std::vector<v1::MaskedInputChunk> out(1 + chunks.size());
  out[0].set_body(Text(secagg::Encode(header)));
  for (size_t i = 0; i < chunks.size(); ++i) out[i + 1].set_body(Text(secagg::Encode(chunks[i])));
  for (v1::MaskedInputChunk& message : out) message.set_session_id(stream[0].session_id());
  if (lies.stream) lies.stream(out);
  return out;
}

absl::StatusOr<v1::UploadAck> LyingCalls::Upload(const std::vector<v1::MaskedInputChunk>& stream) {
  if (lies.hang_up == HangUp::kBeforeInput) return Leave();
  sent_input_ = stream;
  const bool lying = lies.input || lies.header || lies.chunks || lies.stream ||
                     lies.chunk_bytes != 0 || lies.hang_up == HangUp::kInsideInput;
  if (told_ || !lying) return calls_->Upload(stream);
  const std::vector<v1::MaskedInputChunk> lie = LieAbout(stream);
  if (lies.hang_up == HangUp::kInsideInput) {
    open_ = std::make_unique<OpenStream>();
    open_->writer = calls_->stub().UploadMaskedInput(&open_->context, &open_->response);
    for (size_t i = 0; i + 1 < lie.size(); ++i) open_->writer->Write(lie[i]);
    return Leave();
  }
  if (lies.after_the_truth) {
    CHOIR_ASSIGN_OR_RETURN(const v1::UploadAck ack, calls_->Upload(stream));
    (void)Note(calls_->Upload(lie).status());
    return ack;
  }
  absl::StatusOr<v1::UploadAck> ack = calls_->Upload(lie);
  if (Note(ack.status()).ok()) return ack;
  return calls_->Upload(stream);
}

}  // namespace choir::coordinator
