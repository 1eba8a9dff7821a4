#ifndef CHOIR_CLI_RUN_WATCHING_H_
#define CHOIR_CLI_RUN_WATCHING_H_

// Following a run live: `run watch`, `run start --wait`.

#include <string>

#include "absl/status/status.h"

#include "cli/command.h"
#include "cli/operator_session.h"

namespace choir::cli {

// Shows the run's progress until it ends: a bar with what goes on, and a line as each round ends;
// with
// --json a line of JSON at every change. OK if the run finished; ABORTED with the reason if it did
// not; CANCELLED by Ctrl-C, which leaves the run alone.
absl::Status FollowRun(const OperatorSession& session, const std::string& run_id,
                       Environment& environment);

}  // namespace choir::cli

#endif  // CHOIR_CLI_RUN_WATCHING_H_
