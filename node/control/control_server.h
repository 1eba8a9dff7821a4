#ifndef CHOIR_NODE_CONTROL_CONTROL_SERVER_H_
#define CHOIR_NODE_CONTROL_CONTROL_SERVER_H_

// The daemon's local socket: the owner's `choir node ...` commands talk to it. One JSON object a
// line, one answer a line. Only the owner may connect (the socket has mode 0600 in a folder of mode
// 0700).
//   {"command":"status"}  {"command":"pause"}  {"command":"resume"}  {"command":"stop"}
//   {"command":"allow","run":"R"}      -> {"ok":true, "status":{...}} or {"ok":false,"error":"..."}

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

#include "node/control/node_status.h"

namespace choir::node {

class ControlServer {
 public:
  // ALREADY_EXISTS if another daemon answers at `path`; a dead socket is replaced. `board` outlives
  // it.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Start(const std::string& path,
                                                              NodeBoard& board);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  ControlServer(int listener, int wake_read, int wake_write, std::string path, NodeBoard& board);
  void Serve();
  void ServeOne(int connection);

  int listener_;
  int wake_read_;
  int wake_write_;
  std::string path_;
  NodeBoard& board_;
  std::thread thread_;
};

// The answer to one request line; never fails: what is wrong is in the answer.
std::string AnswerControlRequest(const std::string& line, NodeBoard& board);

}  // namespace choir::node

#endif  // CHOIR_NODE_CONTROL_CONTROL_SERVER_H_
