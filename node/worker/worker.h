#ifndef CHOIR_NODE_WORKER_WORKER_H_
#define CHOIR_NODE_WORKER_WORKER_H_

#include <string>

namespace choir::node {

// The worker process: trains the job in `folder`, or goes on with it from its checkpoint. Progress
// goes to standard output a line a step, an error to standard error. SIGTERM: writes the checkpoint
// and ends. Returns an exit code of worker_exit_code.h. Ends by itself when the daemon is gone.
int RunWorker(const std::string& folder);

}  // namespace choir::node

#endif  // CHOIR_NODE_WORKER_WORKER_H_
