#include <grpc/grpc.h>
#include <grpcpp/resource_quota.h>

#include "proto/rpc/credentials.h"

namespace choir::rpc {
namespace {

constexpr int kMaxMessageBytes = 4 << 20;
constexpr int kMaxStreams = 64;
constexpr int kMaxMetadataBytes = 8 << 10;
constexpr size_t kMaxServerBytes = size_t{512} << 20;
// Of synchronous handlers; beyond it a call is refused with RESOURCE_EXHAUSTED, to be tried again.
constexpr int kMaxThreads = 320;
constexpr int kIdleMs = 10 * 60 * 1000;
constexpr int kMaxAgeMs = 30 * 60 * 1000;
constexpr int kGraceMs = 60 * 1000;
constexpr int kKeepaliveMs = 60 * 1000;
constexpr int kMinPingIntervalMs = 20 * 1000;

}  // namespace

void ApplyServerLimits(grpc::ServerBuilder& builder, uint32_t handshake_s) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  grpc::ResourceQuota quota("choir");
  quota.Resize(kMaxServerBytes).SetMaxThreads(kMaxThreads);
  builder.SetResourceQuota(quota);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(1000 * handshake_s));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMaxAgeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kGraceMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  // A second server on the same port would share connections by chance.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

}  // namespace choir::rpc
