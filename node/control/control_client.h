#ifndef CHOIR_NODE_CONTROL_CONTROL_CLIENT_H_
#define CHOIR_NODE_CONTROL_CONTROL_CLIENT_H_

// The other end of the daemon's local socket.

#include <sys/un.h>

#include <string>

#include "absl/status/statusor.h"

namespace choir::node {

// Sends one request line and returns the answer line, at once or within a few seconds.
// UNAVAILABLE: no daemon answers there.
absl::StatusOr<std::string> AskDaemon(const std::string& socket_path, const std::string& request);

// INVALID_ARGUMENT if the path is longer than a socket's may be (107 bytes).
absl::StatusOr<sockaddr_un> ControlAddress(const std::string& path);

}  // namespace choir::node

#endif  // CHOIR_NODE_CONTROL_CONTROL_CLIENT_H_
