#include "coordinator/gate/evaluation_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/gate/evaluation_files.h"

namespace choir::coordinator {
namespace {

constexpr uint64_t kMaxErrorBytes = 64 << 10;

// Starts `program evaluate folder` with standard error in a file, and waits for its end.
absl::StatusOr<int> RunToItsEnd(std::string program, std::string folder,
                                const std::string& errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  // The coordinator's threads block the signals that end a program; this one may be ended.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::string command = kEvaluateCommand;
  const std::array<char*, 4> arguments = {program.data(), command.data(), folder.data(), nullptr};
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    return ErrnoStatus(fmt::format("cannot start {}", program));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return ErrnoStatus("cannot wait for the evaluation");
  }
  return status;
}

absl::StatusOr<double> EvaluateIn(const std::string& program, const EvaluationJob& job) {
  const std::string folder = std::filesystem::path(job.adapter_path).parent_path().string();
  CHOIR_RETURN_IF_ERROR(WriteEvaluationJob(folder, job));
  const std::string errors = folder + "/errors.txt";
  CHOIR_ASSIGN_OR_RETURN(const int status, RunToItsEnd(program, folder, errors));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ReadEvaluationResult(folder);
  if (WIFSIGNALED(status)) {
    return absl::InternalError(
        fmt::format("the evaluation was killed by signal {}", WTERMSIG(status)));
  }
  const absl::StatusOr<std::string> text = ReadFile(errors, kMaxErrorBytes);
  return absl::FailedPreconditionError(fmt::format("the held-out texts cannot be evaluated: {}",
                                                   text.ok() ? *text : "for no known reason"));
}

}  // namespace

Evaluate EvaluateInAProcess(std::string program) {
  return
      [program = std::move(program)](const EvaluationJob& job) { return EvaluateIn(program, job); };
}

}  // namespace choir::coordinator
