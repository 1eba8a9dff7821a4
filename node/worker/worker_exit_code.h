#ifndef CHOIR_NODE_WORKER_WORKER_EXIT_CODE_H_
#define CHOIR_NODE_WORKER_WORKER_EXIT_CODE_H_

namespace choir::node {

// How the worker tells the daemon, through its exit code, what became of the job.
inline constexpr int kWorkerFinished = 0;
inline constexpr int kWorkerFailed = 1;   // the reason is on standard error
inline constexpr int kWorkerStopped = 3;  // asked to; the checkpoint is written

}  // namespace choir::node

#endif  // CHOIR_NODE_WORKER_WORKER_EXIT_CODE_H_
