#include "cli/demo_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <utility>

#include "absl/time/clock.h"
#include <fmt/format.h>

#include "base/file.h"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxLogBytes = uint64_t{64} << 20;
constexpr absl::Duration kReapPoll = absl::Milliseconds(10);

std::string LastLine(const std::string& log_path) {
  absl::StatusOr<std::string> text = ReadFile(log_path, kMaxLogBytes);
  if (!text.ok()) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return text->substr(text->rfind('\n') + 1);
}

std::string HowItEnded(int state) {
  return WIFSIGNALED(state) ? fmt::format("was killed by signal {}", WTERMSIG(state))
                            : fmt::format("ended with exit code {}", WEXITSTATUS(state));
}

// Between fork and exec: only what is safe after a fork of a program with threads.
[[noreturn]] void Become(const char* program, char* const* arguments, int log, int report,
                         pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int empty = ::open("/dev/null", O_RDONLY);
  ::dup2(empty, 0);
  ::dup2(log, 1);
  ::dup2(log, 2);
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  ::execv(program, arguments);
  const int error = errno;
  [[maybe_unused]] const ssize_t told = ::write(report, &error, sizeof(error));
  ::_exit(127);
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::string& program,
                                                 const std::vector<std::string>& arguments,
                                                 const std::string& log_path) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return ErrnoStatus(fmt::format("cannot write {}", log_path));
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) {
    ::close(log);
    return ErrnoStatus("cannot make a pipe");
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) Become(program.c_str(), pointers.data(), log, report[1], parent);
  const int fork_error = errno;
  ::close(log);
  ::close(report[1]);
  // The pipe closes without a word when exec succeeds.
  int error = pid < 0 ? fork_error : 0;
  if (pid > 0 && ::read(report[0], &error, sizeof(error)) <= 0) error = 0;
  ::close(report[0]);
  if (error == 0) {
    return ChildProcess(pid, std::filesystem::path(program).filename().string(), log_path);
  }
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  errno = error;
  return ErrnoStatus(fmt::format("cannot run {}", program));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      name_(std::move(other.name_)),
      log_path_(std::move(other.log_path_)) {}

ChildProcess::~ChildProcess() {
  Reap(absl::ZeroDuration());
}

absl::Status ChildProcess::CheckRunning() {
  int state = 0;
  if (pid_ > 0 && ::waitpid(pid_, &state, WNOHANG) != pid_) return absl::OkStatus();
  pid_ = -1;
  return absl::FailedPreconditionError(
      fmt::format("{} {}: {} ({})", name_, HowItEnded(state), LastLine(log_path_), log_path_));
}

void ChildProcess::AskToStop() const {
  if (pid_ > 0) ::kill(pid_, SIGTERM);
}

void ChildProcess::Reap(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (pid_ > 0 && absl::Now() < deadline) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    if (pid_ > 0) absl::SleepFor(kReapPoll);
  }
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace choir::cli
