#ifndef CHOIR_COORDINATOR_SERVICE_TEST_LYING_NODE_H_
#define CHOIR_COORDINATOR_SERVICE_TEST_LYING_NODE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "coordinator/service/test_node.h"
#include "coordinator/service/test_remote_calls.h"
#include "secure-agg/core/messages.h"

namespace choir::coordinator {

// For tests: what a node sends over gRPC, changed once on its way by somebody who has the node's
// key. What the coordinator refuses is sent again as the node meant it, so that the session can go
// on with it. Its own node does not know of the lie.
class LyingCalls final : public NodeCalls {
 public:
  // Where it falls silent for good.
  enum class HangUp : uint8_t {
    kNever,
    kBeforeJoining,
    kBeforeKeys,
    kBeforeShares,
    kBeforeInput,
    kInsideInput,  // with the stream open
    kBeforeVouching,
    kBeforeAnswer
  };
  // Each changes one message; unset: honest. Without `sign`, the node's signature stays.
  struct Lies {
    std::function<void(secagg::AdvertiseKeys&)> keys;
    std::function<void(secagg::ShareKeys&)> shares;
    std::function<void(std::vector<uint8_t>&)> input;  // y: header and chunks are made anew
    uint32_t chunk_bytes = 0;                          // of the header that is made anew
    std::function<void(secagg::MaskedInputHeader&)> header;
    std::function<void(std::vector<secagg::MaskedInputChunk>&)> chunks;
    std::function<void(std::vector<v1::MaskedInputChunk>&)> stream;
    std::function<void(secagg::ConsistencySignature&)> vouch;
    std::function<void(secagg::UnmaskShares&)> answer;
    // Any message, instead of the first of this kind (its first byte).
    uint8_t raw_kind = 0;
    std::function<void(v1::SessionMessage&)> raw;
    bool sign = true;
    bool after_the_truth = false;  // told once the honest message is there
    bool in_every_session = false;
    HangUp hang_up = HangUp::kNever;
  };

  LyingCalls(std::unique_ptr<RemoteCalls> calls, const TestNode& node);

  Lies lies;
  // What the coordinator answered to the lie.
  [[nodiscard]] const std::vector<absl::Status>& refusals() const { return refusals_; }
  [[nodiscard]] bool told() const { return told_; }
  // Of the last session: what the node sent of its input, and the session's id.
  [[nodiscard]] const std::vector<v1::MaskedInputChunk>& sent_input() const { return sent_input_; }
  [[nodiscard]] const std::string& session_id() const { return session_id_; }
  [[nodiscard]] const std::optional<v1::JoinCohortRequest>& joined() const { return joined_; }
  // The calls beneath, for what is no change of a message.
  [[nodiscard]] RemoteCalls& plain() { return *calls_; }

  absl::StatusOr<v1::CheckInResponse> CheckIn() override;
  absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) override;
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) override;
  absl::Status Send(const v1::SessionMessage& message) override;
  absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) override;

 private:
  struct OpenStream {
    grpc::ClientContext context;
    v1::UploadAck response;
    std::unique_ptr<grpc::ClientWriter<v1::MaskedInputChunk>> writer;
  };

  // The body of the lie about this message; nothing if it is told as it is.
  std::optional<std::string> LieAbout(const v1::SessionMessage& message);
  std::vector<v1::MaskedInputChunk> LieAbout(const std::vector<v1::MaskedInputChunk>& stream);
  secagg::Signature Sign(std::span<const uint8_t> bytes) const {
    return node_.key().SignRaw(bytes);
  }
  absl::Status Note(absl::Status answer);

  const std::unique_ptr<RemoteCalls> calls_;
  const TestNode& node_;
  bool told_ = false;
  std::string believed_;  // what the message said that a lie was believed instead of
  std::vector<absl::Status> refusals_;
  std::vector<v1::MaskedInputChunk> sent_input_;
  std::optional<v1::JoinCohortRequest> joined_;
  std::string session_id_;
  // The transcript as the node was told it.
  Digest h0_{};
  Digest h1_{};
  Digest h2_{};
  Digest h3_{};
  std::unique_ptr<OpenStream> open_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TEST_LYING_NODE_H_
