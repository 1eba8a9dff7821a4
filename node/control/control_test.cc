#include <sys/stat.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "node/control/control_client.h"
#include "node/control/control_server.h"
#include "tests/support/temp_dir.h"
#include <nlohmann/json.hpp>

namespace choir::node {
namespace {

TEST(ControlTest, OwnerSeesStatusAndPauses) {
  const TempDir dir;
  const std::string path = dir.path() + "/control.sock";
  NodeBoard board;
  board.Update([](NodeStatus& status) { status.state = "training"; });
  const auto server = ControlServer::Start(path, board);
  ASSERT_TRUE(server.ok()) << server.status();
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto answer = nlohmann::json::parse(AskDaemon(path, R"({"command":"status"})").value());
  EXPECT_EQ(answer["status"]["state"], "training");
  EXPECT_TRUE(AskDaemon(path, R"({"command":"pause"})").ok());
  EXPECT_TRUE(board.paused());
  EXPECT_TRUE(AskDaemon(path, R"({"command":"allow","run":"r9"})").ok());
  EXPECT_EQ(board.allowed_runs(), std::vector<std::string>{"r9"});
}

TEST(ControlTest, SecondDaemonIsRefusedAndADeadSocketReplaced) {
  const TempDir dir;
  const std::string path = dir.path() + "/control.sock";
  NodeBoard board;
  ASSERT_TRUE(AtomicWriteFile(path, "left behind").ok());
  const auto first = ControlServer::Start(path, board);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(ControlServer::Start(path, board).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST(ControlTest, NonsenseIsAnswered) {
  NodeBoard board;
  for (const char* line : {"", "hello", "[]", "{\"command\":3}", "{\"command\":\"fly\"}",
                           "{\"command\":\"allow\",\"run\":1}", "{\"command\":\"allow\"}"}) {
    EXPECT_NE(AnswerControlRequest(line, board).find("\"ok\":false"), std::string::npos) << line;
  }
}

TEST(ControlTest, NobodyThereIsUnavailable) {
  const TempDir dir;
  EXPECT_EQ(AskDaemon(dir.path() + "/none", "{}").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(AskDaemon(std::string(200, 'x'), "{}").status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace choir::node
