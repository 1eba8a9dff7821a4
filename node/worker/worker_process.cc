#include "node/worker/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "node/worker/worker_exit_code.h"

namespace choir::node {
namespace {

constexpr size_t kMaxErrorText = 16 << 10;

struct Pipe {
  int read = -1;
  int write = -1;
};

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return ErrnoStatus("cannot make a pipe");
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return Pipe{ends[0], ends[1]};
}

void ReadAvailable(int fd, std::string& text) {
  std::array<char, 4096> buffer;
  ssize_t n = 0;
  while ((n = ::read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

std::string LastLine(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const size_t at = text.rfind('\n');
  return at == std::string::npos ? text : text.substr(at + 1);
}

}  // namespace

absl::StatusOr<WorkerProcess> WorkerProcess::Start(const std::string& program,
                                                   const std::string& folder) {
  absl::StatusOr<Pipe> output = MakePipe();
  if (!output.ok()) return output.status();
  absl::StatusOr<Pipe> errors = MakePipe();
  if (!errors.ok()) return errors.status();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output->write, 1);
  posix_spawn_file_actions_adddup2(&actions, errors->write, 2);
  std::string name = program;
  std::string command = "worker";
  std::string where = folder;
  const std::array<char*, 4> arguments = {name.data(), command.data(), where.data(), nullptr};
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(output->write);
  ::close(errors->write);
  if (error != 0) {
    ::close(output->read);
    ::close(errors->read);
    errno = error;
    return ErrnoStatus(fmt::format("cannot start the worker {}", program));
  }
  return WorkerProcess(pid, output->read, errors->read);
}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::exchange(other.output_, -1)),
      errors_(std::exchange(other.errors_, -1)),
      output_text_(std::move(other.output_text_)),
      error_text_(std::move(other.error_text_)),
      newest_(other.newest_) {}

WorkerProcess::~WorkerProcess() {
  if (pid_ > 0) {
    Kill();
    ::waitpid(pid_, nullptr, 0);
  }
  if (output_ >= 0) ::close(output_);
  if (errors_ >= 0) ::close(errors_);
}

void WorkerProcess::Drain() {
  ReadAvailable(output_, output_text_);
  ReadAvailable(errors_, error_text_);
  if (error_text_.size() > kMaxErrorText) {
    error_text_.erase(0, error_text_.size() - kMaxErrorText);
  }
  size_t end = 0;
  while ((end = output_text_.find('\n')) != std::string::npos) {
    const absl::StatusOr<JobProgress> progress = ParseProgressLine(output_text_.substr(0, end));
    if (progress.ok()) newest_ = *progress;
    output_text_.erase(0, end + 1);
  }
}

std::optional<JobProgress> WorkerProcess::WaitForProgress(absl::Duration timeout) {
  std::array<pollfd, 2> waiting{{{output_, POLLIN, 0}, {errors_, POLLIN, 0}}};
  ::poll(waiting.data(), waiting.size(), static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  Drain();
  return std::exchange(newest_, std::nullopt);
}

std::optional<WorkerExit> WorkerProcess::Poll() {
  int state = 0;
  if (pid_ <= 0 || ::waitpid(pid_, &state, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  Drain();
  WorkerExit exit;
  if (WIFEXITED(state)) {
    exit.finished = WEXITSTATUS(state) == kWorkerFinished;
    exit.stopped = WEXITSTATUS(state) == kWorkerStopped;
  }
  if (!exit.finished && !exit.stopped) {
    exit.problem = WIFSIGNALED(state) ? fmt::format("killed by signal {}", WTERMSIG(state))
                                      : LastLine(error_text_);
  }
  return exit;
}

void WorkerProcess::AskToStop() const {
  if (pid_ > 0) ::kill(pid_, SIGTERM);
}

void WorkerProcess::Kill() const {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
}

}  // namespace choir::node
