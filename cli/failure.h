#ifndef CHOIR_CLI_FAILURE_H_
#define CHOIR_CLI_FAILURE_H_

// How a command fails: an absl::Status that also carries the exit code and a hint for the user.

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "cli/exit_code.h"

namespace choir::cli {

// The options contradict each other or make no sense: exit code 2.
absl::Status UsageError(std::string_view message, std::string_view hint = {});

// `status` is about a file that the user gave (`what`: "model"): the message gets the path, where
// it does not have it yet, and exit code 3, unless the device or the user is at fault. An OK status
// stays OK.
absl::Status BadInput(std::string_view what, std::string_view path, const absl::Status& status,
                      std::string_view hint = {});

// The same status with a line that says what to do. Replaces an earlier hint.
absl::Status WithHint(absl::Status status, std::string_view hint);

// The code set by the functions above, else one that follows from the status: CANCELLED 130,
// DATA_LOSS 3, UNAVAILABLE 4, anything else 1.
ExitCode ExitCodeOf(const absl::Status& status);

// Empty if there is none.
std::string HintOf(const absl::Status& status);

// `message` in the form of a status of a library: without its code, line ends made visible.
std::string MessageOf(const absl::Status& status);

}  // namespace choir::cli

#endif  // CHOIR_CLI_FAILURE_H_
