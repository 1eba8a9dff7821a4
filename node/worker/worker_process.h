#ifndef CHOIR_NODE_WORKER_WORKER_PROCESS_H_
#define CHOIR_NODE_WORKER_WORKER_PROCESS_H_

// Training in a process of its own: nice'd, killable at any moment, and gone with the daemon.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "node/worker/job.h"

namespace choir::node {

// How a worker ended.
struct WorkerExit {
  bool finished = false;  // result.json is there
  bool stopped = false;   // asked to: it wrote its checkpoint and can be started again
  std::string problem;    // else: the last line that it wrote to standard error
};

class WorkerProcess {
 public:
  // Starts `program worker FOLDER`. UNAVAILABLE if the process cannot be made.
  static absl::StatusOr<WorkerProcess> Start(const std::string& program, const std::string& folder);
  WorkerProcess(WorkerProcess&& other) noexcept;
  WorkerProcess& operator=(WorkerProcess&&) = delete;
  // Kills it if it still runs.
  ~WorkerProcess();

  // Waits up to `timeout` for news; the newest progress, if any came.
  std::optional<JobProgress> WaitForProgress(absl::Duration timeout);
  // Set once the process has ended.
  std::optional<WorkerExit> Poll();
  // Asks it to write its checkpoint and end.
  void AskToStop() const;
  void Kill() const;

 private:
  WorkerProcess(pid_t pid, int output, int errors) : pid_(pid), output_(output), errors_(errors) {}
  void Drain();

  pid_t pid_ = -1;
  int output_ = -1;
  int errors_ = -1;
  std::string output_text_;
  std::string error_text_;
  std::optional<JobProgress> newest_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_WORKER_WORKER_PROCESS_H_
