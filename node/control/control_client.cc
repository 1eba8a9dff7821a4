#include "node/control/control_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::node {
namespace {

constexpr int kPatienceSeconds = 5;
constexpr size_t kMaxAnswerBytes = 1 << 20;

}  // namespace

absl::StatusOr<sockaddr_un> ControlAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        fmt::format("the path of the control socket is too long ({} bytes, at most {}): choose a "
                    "shorter --home",
                    path.size(), sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<std::string> AskDaemon(const std::string& socket_path, const std::string& request) {
  CHOIR_ASSIGN_OR_RETURN(const sockaddr_un address, ControlAddress(socket_path));
  const int connection = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (connection < 0 ||
      ::connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (connection >= 0) ::close(connection);
    return absl::UnavailableError(
        fmt::format("no choird answers at {}: is it running?", socket_path));
  }
  const std::string line = request + "\n";
  std::string answer;
  char buffer[4096];
  if (::send(connection, line.data(), line.size(), MSG_NOSIGNAL) ==
      static_cast<ssize_t>(line.size())) {
    ssize_t n = 0;
    while (answer.size() < kMaxAnswerBytes && !answer.ends_with('\n') &&
           (n = ::recv(connection, buffer, sizeof(buffer), 0)) > 0) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  ::close(connection);
  if (!answer.ends_with('\n')) {
    return absl::UnavailableError(fmt::format("choird at {} does not answer", socket_path));
  }
  answer.pop_back();
  return answer;
}

}  // namespace choir::node
