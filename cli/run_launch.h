#ifndef CHOIR_CLI_RUN_LAUNCH_H_
#define CHOIR_CLI_RUN_LAUNCH_H_

// Starting a run: `run start`, `demo`.

#include "absl/status/statusor.h"

#include "cli/command.h"
#include "cli/operator_session.h"
#include "cli/run_file.h"

namespace choir::cli {

// Opens the base model that the file names, makes the adapter to start from (or takes the
// operator's own), sends the coordinator what it lacks, and starts the run. The same run again is
// harmless; ALREADY_EXISTS if its name is taken by another.
absl::StatusOr<v1::RunStatus> LaunchRun(const OperatorSession& session, const RunFile& file,
                                        Environment& environment);

}  // namespace choir::cli

#endif  // CHOIR_CLI_RUN_LAUNCH_H_
