#ifndef CHOIR_PROTO_RPC_GRPC_LOG_H_
#define CHOIR_PROTO_RPC_GRPC_LOG_H_

namespace choir::rpc {

// Keeps gRPC's own lines (a failed handshake, a lost connection) off standard error: every such
// event also comes back as a status, which the program reports in its own words. GRPC_VERBOSITY
// brings them back. Call once, first thing in main.
void QuietGrpcLog();

}  // namespace choir::rpc

#endif  // CHOIR_PROTO_RPC_GRPC_LOG_H_
