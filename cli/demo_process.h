#ifndef CHOIR_CLI_DEMO_PROCESS_H_
#define CHOIR_CLI_DEMO_PROCESS_H_

// A program that the demo runs beside itself.

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace choir::cli {

// Never outlives its owner: the destructor kills and reaps it, and the kernel kills it should this
// process die in any other way. It is in a process group of its own, so that Ctrl-C reaches only
// the demo, which then ends everything in order.
class ChildProcess {
 public:
  // Standard input is empty; output and errors are appended to `log_path`. NOT_FOUND or
  // PERMISSION_DENIED if the program cannot be run.
  static absl::StatusOr<ChildProcess> Start(const std::string& program,
                                            const std::vector<std::string>& arguments,
                                            const std::string& log_path);
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  // FAILED_PRECONDITION with how it ended and its last words, if it did.
  absl::Status CheckRunning();
  // Sends SIGTERM; Reap then waits, and kills after `patience`.
  void AskToStop() const;
  void Reap(absl::Duration patience);

 private:
  ChildProcess(pid_t pid, std::string name, std::string log_path)
      : pid_(pid), name_(std::move(name)), log_path_(std::move(log_path)) {}

  pid_t pid_;  // -1: reaped
  std::string name_;
  std::string log_path_;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_DEMO_PROCESS_H_
