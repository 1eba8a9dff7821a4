#ifndef CHOIR_PROTO_RPC_TLS_VERSION_H_
#define CHOIR_PROTO_RPC_TLS_VERSION_H_

#include "absl/status/status.h"

namespace choir::rpc {

// From now on no TLS connection of this process, of either end, is of a version below 1.3. gRPC
// 1.51 sets TLS 1.2 as its minimum and has no setting for it, so this goes through OpenSSL's
// configuration of the process (docs/decisions/0014-tls-1-3-only.md). The credentials of
// proto/rpc/credentials.h call it; before the first connection is enough. Thread-safe, cheap when
// repeated. INTERNAL if OpenSSL does not take it: then nobody may listen or connect.
absl::Status RequireTls13();

}  // namespace choir::rpc

#endif  // CHOIR_PROTO_RPC_TLS_VERSION_H_
