#include "node/control/control_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "node/control/control_client.h"
#include <nlohmann/json.hpp>

namespace choir::node {
namespace {

constexpr size_t kMaxLineBytes = 64 << 10;
constexpr int kPatienceSeconds = 2;  // with a peer that connects and says nothing

nlohmann::json Carry(const nlohmann::json& request, NodeBoard& board) {
  const std::string command = request.value("command", "");
  if (command == "pause" || command == "resume") {
    board.SetPaused(command == "pause");
  } else if (command == "stop") {
    board.RequestStop();
  } else if (command == "allow") {
    const std::string run = request.value("run", "");
    if (run.empty()) return {{"ok", false}, {"error", "\"allow\" needs a \"run\""}};
    board.AllowRun(run);
  } else if (command != "status") {
    return {{"ok", false}, {"error", fmt::format("unknown command \"{}\"", command)}};
  }
  nlohmann::json status = ToJson(board.Read());
  status["paused"] = board.paused();
  return {{"ok", true}, {"status", status}};
}

absl::StatusOr<int> Listen(const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const sockaddr_un address, ControlAddress(path));
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return ErrnoStatus("cannot make a socket");
  ::unlink(path.c_str());
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(listener, 8) != 0) {
    absl::Status status = ErrnoStatus(fmt::format("cannot listen at {}", path));
    ::close(listener);
    return status;
  }
  return listener;
}

}  // namespace

std::string AnswerControlRequest(const std::string& line, NodeBoard& board) {
  const nlohmann::json request = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  nlohmann::json answer;
  if (request.is_object() && request.contains("command") && request["command"].is_string() &&
      (!request.contains("run") || request["run"].is_string())) {
    answer = Carry(request, board);
  } else {
    answer = {{"ok", false}, {"error", "a request is one JSON object with a \"command\""}};
  }
  return answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(const std::string& path,
                                                                    NodeBoard& board) {
  if (AskDaemon(path, R"({"command":"status"})").ok()) {
    return absl::AlreadyExistsError(fmt::format("another choird answers at {}", path));
  }
  std::array<int, 2> wake{};
  if (::pipe2(wake.data(), O_CLOEXEC) != 0) return ErrnoStatus("cannot make a pipe");
  absl::StatusOr<int> listener = Listen(path);
  if (!listener.ok()) {
    ::close(wake[0]);
    ::close(wake[1]);
    return listener.status();
  }
  return std::unique_ptr<ControlServer>(
      new ControlServer(*listener, wake[0], wake[1], path, board));
}

ControlServer::ControlServer(int listener, int wake_read, int wake_write, std::string path,
                             NodeBoard& board)
    : listener_(listener),
      wake_read_(wake_read),
      wake_write_(wake_write),
      path_(std::move(path)),
      board_(board),
      thread_([this] { Serve(); }) {}

ControlServer::~ControlServer() {
  const char byte = 0;
  const ssize_t ignored = ::write(wake_write_, &byte, 1);
  static_cast<void>(ignored);
  thread_.join();
  ::unlink(path_.c_str());
  ::close(listener_);
  ::close(wake_read_);
  ::close(wake_write_);
}

void ControlServer::Serve() {
  for (;;) {
    std::array<pollfd, 2> waiting{{{listener_, POLLIN, 0}, {wake_read_, POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    if (waiting[0].revents == 0) continue;
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    ServeOne(connection);
    ::close(connection);
  }
}

void ControlServer::ServeOne(int connection) {
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  std::string line;
  char c = 0;
  while (line.size() < kMaxLineBytes && ::recv(connection, &c, 1, 0) == 1 && c != '\n') {
    line.push_back(c);
  }
  const std::string answer = AnswerControlRequest(line, board_);
  const ssize_t ignored = ::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
  static_cast<void>(ignored);
}

}  // namespace choir::node
