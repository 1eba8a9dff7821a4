#include "tests/support/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "base/check.h"

namespace choir {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

ChildProcess::ChildProcess(std::vector<std::string> command,
                           const std::vector<std::string>& environment)
    : folder_((std::filesystem::temp_directory_path() / "choir-child-XXXXXX").string()) {
  CHOIR_CHECK(::mkdtemp(folder_.data()) != nullptr);
  std::vector<std::string> variables = environment;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  posix_spawn_file_actions_t actions;
  CHOIR_CHECK(::posix_spawn_file_actions_init(&actions) == 0);
  constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC;
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, (folder_ + "/out").c_str(), kWrite, 0600);
  ::posix_spawn_file_actions_addopen(&actions, 2, (folder_ + "/err").c_str(), kWrite, 0600);
  std::vector<char*> argv = Pointers(command);
  std::vector<char*> envp = Pointers(variables);
  const int error = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  CHOIR_CHECK(error == 0);
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    Wait();
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void ChildProcess::Signal(int signal) const {
  CHOIR_CHECK(pid_ > 0 && ::kill(pid_, signal) == 0);
}

int ChildProcess::Wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) CHOIR_CHECK(errno == EINTR);
  pid_ = -1;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::string ChildProcess::out() const {
  return ReadAll(folder_ + "/out");
}

std::string ChildProcess::err() const {
  return ReadAll(folder_ + "/err");
}

}  // namespace choir
